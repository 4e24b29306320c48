// Included by multiply.h once for each instruction set, in a namespace of its own, with
// TFPRIV_TARGET, kBytes (of a vector), kRows (of a tile) and MultiplyAdd defined. Every
// function carries the target: none may be shared with another instruction set.

template <typename T>
struct Vectors {
  static constexpr int kLanes = kBytes / sizeof(T);
  static constexpr int kPanel = 2 * kLanes;
  typedef T Vector __attribute__((vector_size(kBytes)));
  typedef T Unaligned __attribute__((vector_size(kBytes), aligned(sizeof(T))));
};

// A tile of kRows rows and `vectors` vectors of columns, held in registers.
template <typename T, int vectors>
TFPRIV_TARGET TFPRIV_INLINE void Tile(const Product<T>& product, int64_t row,
                                      int64_t column, T* out, int64_t stride, bool add) {
  typedef typename Vectors<T>::Vector Vector;
  typedef typename Vectors<T>::Unaligned Unaligned;
  constexpr int kLanes = Vectors<T>::kLanes;
  const T* rows[kRows];
  for (int r = 0; r < kRows; ++r) rows[r] = product.left + product.row_offsets[row + r];
  const T* right = product.right + column * product.depth;
  Vector sums[kRows][vectors] = {};
  for (int64_t d = 0; d < product.depth; ++d) {
    const int64_t offset = product.depth_offsets[d];
    Vector columns[vectors];
    for (int v = 0; v < vectors; ++v) {
      columns[v] = *reinterpret_cast<const Unaligned*>(right + v * kLanes);
    }
    for (int r = 0; r < kRows; ++r) {
      const Vector value = rows[r][offset] - Vector{};
      for (int v = 0; v < vectors; ++v) {
        sums[r][v] = MultiplyAdd(value, columns[v], sums[r][v]);
      }
    }
    right += Vectors<T>::kPanel;
  }
  for (int r = 0; r < kRows; ++r) {
    for (int v = 0; v < vectors; ++v) {
      Unaligned* target = reinterpret_cast<Unaligned*>(out + r * stride + v * kLanes);
      *target = add ? *target + sums[r][v] : sums[r][v];
    }
  }
}

// A tile that reaches beyond the last row or column.
template <typename T>
TFPRIV_TARGET void EdgeTile(const Product<T>& product, int64_t row, int64_t column) {
  constexpr int kPanel = Vectors<T>::kPanel;
  T tile[kRows * kPanel];
  const int64_t columns = std::min<int64_t>(kPanel, product.columns - column);
  if (columns <= Vectors<T>::kLanes) {
    Tile<T, 1>(product, row, column, tile, kPanel, false);
  } else {
    Tile<T, 2>(product, row, column, tile, kPanel, false);
  }
  for (int64_t r = 0; r < std::min<int64_t>(kRows, product.rows - row); ++r) {
    T* out = product.out + (row + r) * product.stride + column;
    for (int64_t c = 0; c < columns; ++c) {
      out[c] = product.add ? out[c] + tile[r * kPanel + c] : tile[r * kPanel + c];
    }
  }
}

template <typename T>
TFPRIV_TARGET void Multiply(const Product<T>& product) {
  constexpr int kPanel = Vectors<T>::kPanel;
  for (int64_t row = 0; row < product.rows; row += kRows) {
    for (int64_t column = 0; column < product.columns; column += kPanel) {
      if (product.upper && column + kPanel <= row) continue;
      if (row + kRows <= product.rows && column + kPanel <= product.columns) {
        Tile<T, 2>(product, row, column, product.out + row * product.stride + column,
                   product.stride, product.add);
      } else {
        EdgeTile(product, row, column);
      }
    }
  }
}

template <typename From, typename T>
TFPRIV_TARGET void PackRows(const From* source, int64_t depth, int64_t columns,
                            T* packed) {
  constexpr int kPanel = Vectors<T>::kPanel;
  for (int64_t column = 0; column < columns; column += kPanel) {
    const int64_t width = std::min<int64_t>(kPanel, columns - column);
    for (int64_t d = 0; d < depth; ++d, packed += kPanel) {
      const From* row = source + d * columns + column;
      if (width == kPanel) {
        for (int c = 0; c < kPanel; ++c) packed[c] = row[c];
      } else {
        for (int64_t c = 0; c < kPanel; ++c) packed[c] = c < width ? row[c] : 0;
      }
    }
  }
}

template <typename From, typename T>
TFPRIV_TARGET void PackTransposed(const From* source, const int64_t* offsets,
                                  int64_t columns, int64_t depth, T* packed) {
  constexpr int kPanel = Vectors<T>::kPanel;
  for (int64_t column = 0; column < columns; column += kPanel, packed += kPanel * depth) {
    const int64_t width = std::min<int64_t>(kPanel, columns - column);
    const From* from[kPanel];
    for (int c = 0; c < kPanel; ++c) {
      from[c] = source + offsets[column + std::min<int64_t>(c, width - 1)];
    }
    for (int64_t d = 0; d < depth; ++d) {
      for (int c = 0; c < kPanel; ++c) packed[d * kPanel + c] = from[c][d];
    }
    for (int64_t d = 0; width < kPanel && d < depth; ++d) {
      for (int64_t c = width; c < kPanel; ++c) packed[d * kPanel + c] = 0;
    }
  }
}

template <typename T>
TFPRIV_TARGET double SumSquares(const T* values, int64_t size) {
  constexpr int kLanes = Vectors<double>::kLanes;
  typedef typename Vectors<double>::Vector Vector;
  typedef T Values __attribute__((vector_size(kLanes * sizeof(T)), aligned(sizeof(T))));
  Vector sums[4] = {};
  int64_t i = 0;
  for (; i + 4 * kLanes <= size; i += 4 * kLanes) {
    for (int v = 0; v < 4; ++v) {
      const Vector x = __builtin_convertvector(
          *reinterpret_cast<const Values*>(values + i + v * kLanes), Vector);
      sums[v] = MultiplyAdd(x, x, sums[v]);
    }
  }
  sums[0] += sums[1] + (sums[2] + sums[3]);
  double total = 0;
  for (; i < size; ++i) total += static_cast<double>(values[i]) * values[i];
  for (int l = 0; l < kLanes; ++l) total += sums[0][l];
  return total;
}

inline TFPRIV_TARGET double ShiftedDot(const Segment* segments, int64_t size,
                                       Gram positions, Gram cells) {
  constexpr int kLanes = Vectors<double>::kLanes;
  typedef typename Vectors<double>::Vector Vector;
  typedef typename Vectors<double>::Unaligned Unaligned;
  double diagonal = 0, rest = 0;
  Vector sums = {};
  for (int64_t i = 0; i < size; ++i) {
    for (int64_t x = 0; x < segments[i].length; ++x) {
      const int64_t position = segments[i].position + x, cell = segments[i].cell + x;
      const double* a = positions.values + position * positions.stride;
      const double* b = cells.values + cell * cells.stride;
      diagonal += a[position] * b[cell];
      for (int64_t j = i; j < size; ++j) {  // what comes after this position
        const int64_t done = j == i ? x + 1 : 0;
        const double* left = a + segments[j].position + done;
        const double* right = b + segments[j].cell + done;
        const int64_t length = segments[j].length - done;
        int64_t y = 0;
        for (; y + kLanes <= length; y += kLanes) {
          sums = MultiplyAdd(Vector(*reinterpret_cast<const Unaligned*>(left + y)),
                             Vector(*reinterpret_cast<const Unaligned*>(right + y)), sums);
        }
        for (; y < length; ++y) rest += left[y] * right[y];
      }
    }
  }
  for (int l = 0; l < kLanes; ++l) rest += sums[l];
  return diagonal + 2 * rest;
}
