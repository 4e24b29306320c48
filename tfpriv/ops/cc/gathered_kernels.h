// Included by multiply.h like multiply_kernels.h, and after it: matrix products whose
// left rows are runs of numbers that lie wherever a table says.

// Where the rows of one tile lie.
template <typename T, int rows>
TFPRIV_TARGET TFPRIV_INLINE void FindRows(const Gathered<T>& product, int64_t row,
                                          const T* (&bases)[rows],
                                          const int32_t* (&tables)[rows]) {
  for (int r = 0; r < rows; ++r) {
    const int64_t at = row + r;
    const int64_t example = at / product.positions, q = at % product.positions;
    bases[r] = product.left + example * product.example_stride;
    tables[r] = product.table + example * product.table_stride + q * product.taps;
  }
}

// Adds a part of the sum to a tile, which is `start` (or zeros) before its first part.
template <typename T, int count, int vectors>
TFPRIV_TARGET TFPRIV_INLINE void GatheredTile(const Gathered<T>& product,
                                              const GatheredPart& part, int64_t row,
                                              const T* right, const T* start, T* out,
                                              int64_t stride) {
  typedef typename Vectors<T>::Vector Vector;
  typedef typename Vectors<T>::Unaligned Unaligned;
  constexpr int kLanes = Vectors<T>::kLanes;
  const T* bases[count];
  const int32_t* tables[count];
  FindRows(product, row, bases, tables);
  Vector sums[count][vectors];
  for (int r = 0; r < count; ++r) {
    for (int v = 0; v < vectors; ++v) {
      const T* from = part.first ? start + v * kLanes : out + r * stride + v * kLanes;
      sums[r][v] = *reinterpret_cast<const Unaligned*>(from);
    }
  }
  right += (part.tap_begin * product.run + part.begin) * product.right_step;
  // With few rows the next part's numbers are not there when they are needed: they are
  // asked for now. (Beyond the last part, too: a prefetch of any address is harmless.)
  const int64_t ahead =
      (part.tap_end - part.tap_begin) * (part.end - part.begin) * product.right_step;
  for (int64_t k = part.tap_begin; k < part.tap_end; ++k) {
    const T* rows[count];
    for (int r = 0; r < count; ++r) {
      const int64_t place = tables[r][k];
      rows[r] = place < 0 ? product.zeros : bases[r] + place * product.run;
    }
    for (int64_t d = part.begin; d < part.end; ++d) {
      Vector columns[vectors];
      for (int v = 0; v < vectors; ++v) {
        columns[v] = *reinterpret_cast<const Unaligned*>(right + v * kLanes);
        __builtin_prefetch(right + ahead + v * kLanes, 0, 2);  // into the second level
      }
      for (int r = 0; r < count; ++r) {
        const Vector value = rows[r][d] - Vector{};
        for (int v = 0; v < vectors; ++v) {
          sums[r][v] = MultiplyAdd(value, columns[v], sums[r][v]);
        }
      }
      right += product.right_step;
    }
  }
  for (int r = 0; r < count; ++r) {
    for (int v = 0; v < vectors; ++v) {
      *reinterpret_cast<Unaligned*>(out + r * stride + v * kLanes) = sums[r][v];
    }
  }
}

// `count` rows and the columns of one panel, by way of a copy if it is not full.
template <typename T, int count>
TFPRIV_TARGET void GatheredRows(const Gathered<T>& product, const GatheredPart& part,
                                int64_t row, int64_t columns, const T* right,
                                const T* start, T* out) {
  constexpr int kPanel = Vectors<T>::kPanel;
  if (columns == kPanel) {
    GatheredTile<T, count, 2>(product, part, row, right, start, out, product.columns);
    return;
  }
  T tile[count * kPanel] = {};
  for (int r = 0; !part.first && r < count; ++r) {
    std::copy(out + r * product.columns, out + r * product.columns + columns,
              tile + r * kPanel);
  }
  if (columns <= Vectors<T>::kLanes) {
    GatheredTile<T, count, 1>(product, part, row, right, start, tile, kPanel);
  } else {
    GatheredTile<T, count, 2>(product, part, row, right, start, tile, kPanel);
  }
  for (int r = 0; r < count; ++r) {
    std::copy(tile + r * kPanel, tile + r * kPanel + columns, out + r * product.columns);
  }
}

// The tile of as many rows as are left, up to `count`.
template <typename T, int count>
TFPRIV_TARGET void UpToRows(const Gathered<T>& product, const GatheredPart& part,
                            int64_t row, int64_t rows, int64_t columns, const T* right,
                            const T* start, T* out) {
  if constexpr (count > 0) {
    if (rows == count) {
      GatheredRows<T, count>(product, part, row, columns, right, start, out);
    } else {
      UpToRows<T, count - 1>(product, part, row, rows, columns, right, start, out);
    }
  }
}

// One part of the sum, for rows [row_begin, row_end) and panels [panel_begin, panel_end).
template <typename T>
TFPRIV_TARGET void MultiplyGathered(const Gathered<T>& product, const GatheredPart& part,
                                    int64_t row_begin, int64_t row_end,
                                    int64_t panel_begin, int64_t panel_end) {
  constexpr int kPanel = Vectors<T>::kPanel;
  for (int64_t panel = panel_begin; panel < panel_end; ++panel) {
    const int64_t column = panel * kPanel;
    const int64_t columns = std::min<int64_t>(kPanel, product.columns - column);
    const T* right = product.right + panel * product.panel_stride;
    const T* start = product.start + column;
    for (int64_t row = row_begin; row < row_end; row += kRows) {
      const int64_t rows = std::min<int64_t>(kRows, row_end - row);
      T* out = product.out + row * product.columns + column;
      UpToRows<T, kRows>(product, part, row, rows, columns, right, start, out);
    }
  }
}

// Adds sum over d of left[d][r] * right[d][c] to out[r][c], for `rows` values of r.
template <typename T, int rows, int vectors>
TFPRIV_TARGET TFPRIV_INLINE void OuterTile(const T* const* left, int64_t first,
                                           int64_t depth, const T* right, T* out,
                                           int64_t stride) {
  typedef typename Vectors<T>::Vector Vector;
  typedef typename Vectors<T>::Unaligned Unaligned;
  constexpr int kLanes = Vectors<T>::kLanes;
  Vector sums[rows][vectors];
  for (int r = 0; r < rows; ++r) {
    for (int v = 0; v < vectors; ++v) {
      sums[r][v] = *reinterpret_cast<const Unaligned*>(out + r * stride + v * kLanes);
    }
  }
  for (int64_t d = 0; d < depth; ++d, right += Vectors<T>::kPanel) {
    const T* at = left[d] + first;
    Vector columns[vectors];
    for (int v = 0; v < vectors; ++v) {
      columns[v] = *reinterpret_cast<const Unaligned*>(right + v * kLanes);
    }
    for (int r = 0; r < rows; ++r) {
      const Vector value = at[r] - Vector{};
      for (int v = 0; v < vectors; ++v) {
        sums[r][v] = MultiplyAdd(value, columns[v], sums[r][v]);
      }
    }
  }
  for (int r = 0; r < rows; ++r) {
    for (int v = 0; v < vectors; ++v) {
      *reinterpret_cast<Unaligned*>(out + r * stride + v * kLanes) = sums[r][v];
    }
  }
}

template <typename T, int rows>
TFPRIV_TARGET void OuterRows(const T* const* left, int64_t first, int64_t depth,
                             const T* panels, T* out, int64_t columns) {
  constexpr int kPanel = Vectors<T>::kPanel;
  for (int64_t column = 0; column < columns; column += kPanel) {
    const T* right = panels + column * depth;
    const int64_t width = std::min<int64_t>(kPanel, columns - column);
    if (width == kPanel) {
      OuterTile<T, rows, 2>(left, first, depth, right, out + column, columns);
      continue;
    }
    T tile[rows * kPanel] = {};
    for (int64_t r = 0; r < rows; ++r) {
      std::copy(out + r * columns + column, out + r * columns + column + width,
                tile + r * kPanel);
    }
    if (width <= Vectors<T>::kLanes) {
      OuterTile<T, rows, 1>(left, first, depth, right, tile, kPanel);
    } else {
      OuterTile<T, rows, 2>(left, first, depth, right, tile, kPanel);
    }
    for (int64_t r = 0; r < rows; ++r) {
      std::copy(tile + r * kPanel, tile + r * kPanel + width, out + r * columns + column);
    }
  }
}

// out[r][c] += sum over d of left[d][r] * right[d][c], r in [begin, end), rows that lie
// where `left` says and `right` packed as PackRows leaves it.
template <typename T>
TFPRIV_TARGET void AddOuter(const T* const* left, int64_t begin, int64_t end,
                            int64_t depth, const T* panels, T* out, int64_t columns) {
  for (int64_t r = begin; r < end; r += 6) {
    T* const at = out + r * columns;
    switch (std::min<int64_t>(6, end - r)) {
      case 6: OuterRows<T, 6>(left, r, depth, panels, at, columns); break;
      case 5: OuterRows<T, 5>(left, r, depth, panels, at, columns); break;
      case 4: OuterRows<T, 4>(left, r, depth, panels, at, columns); break;
      case 3: OuterRows<T, 3>(left, r, depth, panels, at, columns); break;
      case 2: OuterRows<T, 2>(left, r, depth, panels, at, columns); break;
      default: OuterRows<T, 1>(left, r, depth, panels, at, columns);
    }
  }
}
