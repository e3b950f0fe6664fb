// relu(W_a + W_b) W_out of pairs (a, b), and the gradient of the cross entropy, as a mean over the classes.
//
// A row has two ones: its hidden layer is two rows of W_in, added up, and the gradient of the hidden layer is
// added to these two. The products that are left, the logits, and backward the gradients of W_out and of the hidden
// layer, are taken of some rows at a time, so that all of them stays in the first cache.
//
// Arrays are as jax has them, lanes first: pairs LN2 (rows of W_in), y LN, weight LN, w_in LDH, w_out LHP.

#include <algorithm>
#include <limits>

#include "call.h"
#include "vectors.h"

namespace {

constexpr int SOME = 64;  // rows at a time, a multiple of V
#if defined(__AVX512F__)
constexpr int TALL = 4, WIDE = 6;  // rows and vectors of a product that are summed in registers
#else
constexpr int TALL = 2, WIDE = 2;
#endif

template <size_t... I>
Floats all(float a, std::index_sequence<I...>) {
  return Floats{(static_cast<void>(I), a)...};
}
Floats all(float a) { return all(a, std::make_index_sequence<V>()); }

Floats larger(Floats a, Floats b) { return a > b ? a : b; }

// out[r][c] += sum over k < n of a[r * a_row + k * a_k] b[k][c], of C of the vectors and TALL rows. `b` and `out`
// have `width` vectors in a row. All indices are known to the compiler: it keeps the sums in registers.
template <int C, size_t... I, size_t... R>
void of_some(int64_t n, const float* a, int64_t a_row, int64_t a_k, const Floats* b, Floats* out, int64_t width,
             std::index_sequence<I...>, std::index_sequence<R...>) {
  Floats sum[] = {out[I / C * width + I % C]...};
  for (int64_t k = 0; k < n; k++, a += a_k, b += width) {
    const Floats of_a[] = {all(a[R * a_row])...};
    (static_cast<void>(sum[I] += of_a[I / C] * b[I % C]), ...);
  }
  (static_cast<void>(out[I / C * width + I % C] = sum[I]), ...);
}

template <int C>
void of_columns(int64_t count, int64_t rows, int64_t n, const float* a, int64_t a_row, int64_t a_k, const Floats* b,
                Floats* out, int64_t width) {
  if constexpr (C > 1)
    if (count < C) return of_columns<C - 1>(count, rows, n, a, a_row, a_k, b, out, width);
  for (int64_t r = 0; r < rows; r += TALL)
    of_some<C>(n, a + r * a_row, a_row, a_k, b, out + r * width, width, std::make_index_sequence<TALL * C>(),
               std::make_index_sequence<TALL>());
}

// The same of all vectors, and as many rows, rounded up to whole TALL.
void add_product(int64_t rows, int64_t n, const float* a, int64_t a_row, int64_t a_k, const Floats* b, Floats* out,
                 int64_t width) {
  for (int64_t c = 0; c < width; c += WIDE)
    of_columns<WIDE>(std::min<int64_t>(WIDE, width - c), rows, n, a, a_row, a_k, b + c, out + c, width);
}

int64_t vectors(int64_t size) { return (size + V - 1) / V; }

// A matrix whose rows are whole vectors, filled up with zeros.
struct Padded {
  Room<Floats> room;
  Floats* of = nullptr;
  int64_t width = 0;

  void clear(int64_t rows, int64_t columns) {
    width = vectors(columns);
    of = room.of(rows * width);
    std::fill(of, of + rows * width, Floats{});
  }
  float* floats() { return reinterpret_cast<float*>(of); }
  float* row(int64_t r) { return floats() + r * width * V; }
  void read(const float* from, int64_t rows, int64_t columns) {
    clear(rows, columns);
    for (int64_t r = 0; r < rows; r++) std::memcpy(row(r), from + r * columns, columns * sizeof(float));
  }
  void read_transposed(const float* from, int64_t rows, int64_t columns) {
    clear(columns, rows);
    for (int64_t r = 0; r < rows; r++)
      for (int64_t c = 0; c < columns; c++) row(c)[r] = from[r * columns + c];
  }
  void write(float* to, int64_t rows, int64_t columns) {
    for (int64_t r = 0; r < rows; r++) std::memcpy(to + r * columns, row(r), columns * sizeof(float));
  }
};

// Sizes of the arrays; and one lane's network with what is computed of it.
struct Network {
  int64_t features, hidden, classes;
  Padded w_in, w_out, w_out_T, h, z, dh, g_in, g_out;

  void read(const float* w_in_DH, const float* w_out_HP) {
    w_in.read(w_in_DH, features, hidden);
    w_out.read(w_out_HP, hidden, classes);
  }

  // The hidden layers and logits of `count` rows, SOME at most.
  void forward(const int32_t* pairs, int64_t count) {
    h.clear(SOME, hidden);
    z.clear(SOME, classes);
    for (int64_t r = 0; r < count; r++) {
      const Floats *a = w_in.of + pairs[2 * r] * h.width, *b = w_in.of + pairs[2 * r + 1] * h.width;
      for (int64_t c = 0; c < h.width; c++) h.of[r * h.width + c] = relu(a[c] + b[c]);
    }
    add_product(count, hidden, h.floats(), h.width * V, 1, w_out.of, z.of, z.width);
  }

  // z becomes the slope of the weighted losses in it: (softmax(z) - [class is y]) weight / classes.
  void slope(const int32_t* y, const float* weight, int64_t count) {
    Floats none = {};
    for (int64_t i = 0; i < V; i++)
      if ((z.width - 1) * V + i >= classes) none[i] = -std::numeric_limits<float>::infinity();
    for (int64_t begin = 0; begin < count; begin += V) {
      Floats most[V], sum[V];
      float of_row[V];
      Floats weight_V = {};
      std::memcpy(&weight_V, weight + begin, std::min<int64_t>(V, count - begin) * sizeof(float));
      for (int r = 0; r < V; r++) {
        Floats* row = z.of + (begin + r) * z.width;
        row[z.width - 1] += none;
        most[r] = row[0];
        for (int64_t c = 1; c < z.width; c++) most[r] = larger(most[r], row[c]);
      }
      const Floats highest = totals(most, larger);
      std::memcpy(of_row, &highest, sizeof of_row);
      for (int r = 0; r < V; r++) {
        Floats *row = z.of + (begin + r) * z.width, top = all(of_row[r]);
        sum[r] = Floats{};
        for (int64_t c = 0; c < z.width; c++) {
          const Floats d = row[c] - top;
          row[c] = d < -87 ? Floats{} : exp(d);
          sum[r] += row[c];
        }
      }
      const Floats share = weight_V / all(static_cast<float>(classes));
      const Floats factor = share / totals(sum);
      std::memcpy(of_row, &factor, sizeof of_row);
      for (int64_t r = 0; r < V; r++) {
        Floats *row = z.of + (begin + r) * z.width, times = all(of_row[r]);
        for (int64_t c = 0; c < z.width; c++) row[c] *= times;
        if (begin + r < count) z.row(begin + r)[y[begin + r]] -= share[r];
      }
    }
  }

  // What these rows add to the gradients.
  void backward(const int32_t* pairs, int64_t count) {
    dh.clear(SOME, hidden);
    add_product(count, classes, z.floats(), z.width * V, 1, w_out_T.of, dh.of, dh.width);
    for (int64_t r = 0; r < count; r++) {
      Floats *a = g_in.of + pairs[2 * r] * h.width, *b = g_in.of + pairs[2 * r + 1] * h.width;
      for (int64_t c = 0; c < h.width; c++) {
        const int64_t at = r * h.width + c;
        const Floats d = h.of[at] > 0 ? dh.of[at] : Floats{};
        a[c] += d;
        b[c] += d;
      }
    }
    add_product(hidden, count, h.floats(), 1, h.width * V, z.of, g_out.of, z.width);
  }
};

// One of each thread, of these sizes.
Network& network_of(int64_t features, int64_t hidden, int64_t classes) {
  thread_local Network network;
  network.features = features, network.hidden = hidden, network.classes = classes;
  return network;
}

void outputs(const Call& call) {
  const auto pairs = call.argument<int32_t>(0);
  const auto w_in = call.argument<float>(1), w_out = call.argument<float>(2);
  const auto z = call.result<float>(0);
  const int64_t rows = pairs.axis(2), features = w_in.axis(2), hidden = w_in.axis(1), classes = w_out.axis(1);
  over_lanes(pairs.size() / (rows * 2), rows * hidden * classes / 16., [&](int64_t lane) {
    Network& network = network_of(features, hidden, classes);
    network.read(w_in.data + lane * features * hidden, w_out.data + lane * hidden * classes);
    for (int64_t r = 0; r < rows; r += SOME) {
      const int64_t count = std::min<int64_t>(SOME, rows - r), at = lane * rows + r;
      network.forward(pairs.data + at * 2, count);
      network.z.write(z.data + at * classes, count, classes);
    }
  });
}

void gradient(const Call& call) {
  const auto pairs = call.argument<int32_t>(0), y = call.argument<int32_t>(1);
  const auto weight = call.argument<float>(2), w_in = call.argument<float>(3), w_out = call.argument<float>(4);
  const auto g_in = call.result<float>(0), g_out = call.result<float>(1);
  const int64_t rows = pairs.axis(2), features = w_in.axis(2), hidden = w_in.axis(1), classes = w_out.axis(1);
  over_lanes(pairs.size() / (rows * 2), rows * hidden * classes / 16., [&](int64_t lane) {
    Network& network = network_of(features, hidden, classes);
    const int64_t in = lane * features * hidden, out = lane * hidden * classes;
    network.read(w_in.data + in, w_out.data + out);
    network.w_out_T.read_transposed(w_out.data + out, hidden, classes);
    network.g_in.clear(features, hidden);
    network.g_out.clear(vectors(hidden) * V, classes);  // whole TALL rows
    int64_t left = rows;
    while (left > 0 && weight.data[lane * rows + left - 1] == 0) left--;  // behind them all are padding
    for (int64_t r = 0; r < left; r += SOME) {
      const int64_t count = std::min<int64_t>(SOME, left - r), at = lane * rows + r;
      network.forward(pairs.data + at * 2, count);
      network.slope(y.data + at, weight.data + at, count);
      network.backward(pairs.data + at * 2, count);
    }
    network.g_in.write(g_in.data + in, features, hidden);
    network.g_out.write(g_out.data + out, hidden, classes);
  });
}

}  // namespace

KERNEL(modular_outputs, outputs)
KERNEL(modular_gradient, gradient)
