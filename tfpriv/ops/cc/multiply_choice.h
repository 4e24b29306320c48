// Included by multiply.h after the kernels: one instruction set's functions.

template <typename From, typename T>
Arithmetic<From, T> Functions() {
  return {Vectors<T>::kPanel, kRows,      Multiply<T>,         PackRows<From, T>,
          PackTransposed<From, T>, SumSquares<T>, ShiftedDot, MultiplyGathered<T>,
          AddOuter<T>};
}
