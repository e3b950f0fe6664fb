// relu(x W) w of rows of bits, and the gradient of parity's loss, without a product: the method of four Russians.
//
// The bits are cut into groups of some six. For each group a table has the sums of those rows of W that any
// choice of its bits takes; it is built by doubling, once a step. The hidden layer of a row is then one row of
// each table, added up. Back the same way round: G = sum over rows of x dz [x W > 0] is folded by halving from
// as many tables, and a row of such a table is the sum, where the neuron is on, of the dz of those rows of x
// that take it: they are listed once before training. dL/dW = w G and dL/dw = sum over features of W G, so of
// the hidden layer one bit of a neuron and row is enough.
//
// Arrays are as jax has them, lanes first: index LN8 (which row of each group's table a row of x takes), order
// LGN (rows of x by the row of the table that they take, group by group), start LT (where in order those of a
// table's row begin), w_in LDH, w_out LH, and z LN, y LN, weight LN.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <type_traits>
#include <vector>

#include "call.h"
#include "vectors.h"
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace {

constexpr int MOST = 8;  // groups, as `relu_cpu` has it: a row's places in their tables are the bytes of one word

constexpr Ints LOW = {1 << 0, 1 << 1, 1 << 2,  1 << 3,  1 << 4,  1 << 5,  1 << 6,  1 << 7,
                      1 << 8, 1 << 9, 1 << 10, 1 << 11, 1 << 12, 1 << 13, 1 << 14, 1 << 15};

// Which are on, a bit each; and to add where those of the first vector of a word, or the second, say so.
#if defined(__AVX512F__)  // by hand: the compiler's own takes three times as long
uint16_t on_of(Floats v) { return _mm512_cmp_ps_mask((__m512)v, _mm512_setzero_ps(), _CMP_NLE_UQ); }
Floats add_where(__mmask16 on, Floats to, Floats v) {
  return (Floats)_mm512_mask_add_ps((__m512)to, on, (__m512)to, (__m512)v);
}
Floats add_first(uint32_t word, Floats to, Floats v) {
  return add_where(_mm512_test_epi32_mask(_mm512_set1_epi32(word), (__m512i)LOW), to, v);
}
Floats add_second(uint32_t word, Floats to, Floats v) {
  return add_where(_mm512_test_epi32_mask(_mm512_set1_epi32(word), (__m512i)(LOW << 16)), to, v);
}
Floats add_only(uint16_t on, Floats to, Floats v) { return add_where(on, to, v); }
#else
uint16_t on_of(Floats v) {
  const Ints bits = ~(v <= 0) & LOW;
  int32_t sum = 0;
  for (int i = 0; i < V; i++) sum |= bits[i];
  return static_cast<uint16_t>(sum);
}
Floats add_first(uint32_t word, Floats to, Floats v) {
  const Ints on = ((Ints{} + static_cast<int32_t>(word)) & LOW) != 0;
  return to + (Floats)((Ints)v & on);
}
Floats add_second(uint32_t word, Floats to, Floats v) { return add_first(word >> 16, to, v); }
Floats add_only(uint16_t on, Floats to, Floats v) { return add_first(on, to, v); }
#endif

// How features are cut into groups: as `relu_cpu.groups` has it.
struct Groups {
  int64_t count;
  int begin[MOST], bits[MOST], row[MOST + 1];  // of each: its first feature, its bits, the first row of its table

  Groups(int64_t features, int64_t groups) : count(groups) {
    int at = 0, rows = 0;
    for (int g = 0; g < count; g++) {
      begin[g] = at;
      bits[g] = static_cast<int>(features / count + (g < features % count));
      row[g] = rows;
      at += bits[g];
      rows += 1 << bits[g];
    }
    row[count] = rows;
  }
  int rows() const { return row[count]; }
};

// C vectors of neurons of one lane, which go through all its rows at once. A row of a table has C vectors.
template <int C>
struct Neurons {
  const Groups& groups;
  const int64_t rows, hidden, first, count;  // `count` of the neurons from `first` on are there

  Neurons(const Groups& groups, int64_t rows, int64_t hidden, int64_t first)
      : groups(groups), rows(rows), hidden(hidden), first(first), count(std::min<int64_t>(C * V, hidden - first)) {}

  void read(const float* from, Floats* row) const {
    if (count == C * V) {  // a copy of a known size is some instructions
      std::memcpy(row, from + first, C * sizeof(Floats));
      return;
    }
    std::fill(row, row + C, Floats{});
    std::memcpy(row, from + first, count * sizeof(float));
  }

  void write(const Floats* row, float* to) const {
    if (count == C * V)
      std::memcpy(to + first, row, C * sizeof(Floats));
    else
      std::memcpy(to + first, row, count * sizeof(float));
  }

  void build(const float* w_in, Floats* table) const {
    for (int g = 0; g < groups.count; g++) {
      Floats* t = table + groups.row[g] * C;
      std::fill(t, t + C, Floats{});
      for (int b = 0; b < groups.bits[g]; b++) {
        Floats row[C];
        read(w_in + (groups.begin[g] + b) * hidden, row);
        for (int i = 0; i < C << b; i++) t[(C << b) + i] = t[i] + row[i % C];
      }
    }
  }

  // G groups, or as many as there are where that is 0: known ones are written out by the compiler.
  template <int G>
  void forward(const uint64_t* index, const Floats* table, const float* w_out, float* z, uint16_t* on) const {
    const int64_t n_groups = G ? G : groups.count;
    const Floats* begin[MOST];
    for (int64_t g = 0; g < n_groups; g++) begin[g] = table + groups.row[g] * C;
    Floats w[C];
    read(w_out, w);
    const auto of_some = [&](int64_t r, auto count) {
      Floats sums[V], z_V = {};
      for (int v = 0; v < count; v++) {
        const uint64_t x = index[r + v];
        const Floats* t = begin[0] + (x & 255) * C;
        Floats h[C], sum = {};
        for (int c = 0; c < C; c++) h[c] = t[c];
        for (int64_t g = 1; g < n_groups; g++) {
          t = begin[g] + (x >> 8 * g & 255) * C;
          for (int c = 0; c < C; c++) h[c] += t[c];
        }
        for (int c = 0; c < C; c++) {
          if (on) on[(r + v) * C + c] = on_of(h[c]);
          sum += relu(h[c]) * w[c];
        }
        sums[v] = sum;
      }
      std::fill(sums + count, sums + V, Floats{});
      std::memcpy(&z_V, z + r, count * sizeof(float));
      z_V += totals(sums);
      std::memcpy(z + r, &z_V, count * sizeof(float));
    };
    int64_t r = 0;
    for (; r + V <= rows; r += V) of_some(r, std::integral_constant<int, V>());
    if (r < rows) of_some(r, static_cast<int>(rows - r));
  }

  void add(int64_t r, const float* dz, const uint16_t* on, Floats* sum) const {
    const Floats d = Floats{} + dz[r];
    if (C == 1) {
      sum[0] = add_only(on[r], sum[0], d);
      return;
    }
    for (int c = 0; c < C; c += 2) {
      uint32_t word;
      std::memcpy(&word, on + r * C + c, sizeof word);
      sum[c] = add_first(word, sum[c], d);
      sum[c + 1] = add_second(word, sum[c + 1], d);
    }
  }

  // The tables of G, of the rows in `order` that are there.
  void backward(const uint16_t* order, const int32_t* start, const float* dz, const uint16_t* on, Floats* table) const {
    for (int t = 0; t < groups.rows(); t++) {
      constexpr int M = C < 4 ? 4 : 2;  // as many sums, so that none waits for another
      Floats sum[M][C] = {};
      int32_t i = start[t], end = start[t + 1];
      if (i < end && order[end - 1] >= rows)  // the others are padding: each list goes up
        end = static_cast<int32_t>(std::lower_bound(order + i, order + end, rows) - order);
      for (; i + M <= end; i += M)
        for (int m = 0; m < M; m++) add(order[i + m], dz, on, sum[m]);
      for (; i < end; i++) add(order[i], dz, on, sum[0]);
      for (int m = 1; m < M; m++)
        for (int c = 0; c < C; c++) sum[0][c] += sum[m][c];
      for (int c = 0; c < C; c++) table[t * C + c] = sum[0][c];
    }
  }

  // The same of n rows.
  void backward_of_some(const uint64_t* index, const uint16_t* some, int64_t n, const float* dz, const uint16_t* on,
                        Floats* table) const {
    std::fill(table, table + groups.rows() * C, Floats{});
    for (int64_t i = 0; i < n; i++) {
      const int64_t r = some[i];
      Floats of_row[C] = {};
      add(r, dz, on, of_row);
      for (int64_t g = 0; g < groups.count; g++) {
        Floats* t = table + (groups.row[g] + (index[r] >> 8 * g & 255)) * C;
        for (int c = 0; c < C; c++) t[c] += of_row[c];
      }
    }
  }

  // The gradients of the weights from them.
  void fold(Floats* table, const float* w_in, const float* w_out, float* g_in, float* g_out) const {
    Floats w[C], of_w[C] = {};
    read(w_out, w);
    for (int g = 0; g < groups.count; g++) {
      Floats* t = table + groups.row[g] * C;
      for (int b = groups.bits[g] - 1; b >= 0; b--) {
        Floats sum[C] = {}, row[C];
        const Floats* half = t + (C << b);
        for (int i = 0; i < C << b; i++) {
          sum[i % C] += half[i];
          t[i] += half[i];
        }
        const int64_t at = (groups.begin[g] + b) * hidden;
        read(w_in + at, row);
        for (int c = 0; c < C; c++) {
          of_w[c] += row[c] * sum[c];
          sum[c] *= w[c];
        }
        write(sum, g_in + at);
      }
    }
    write(of_w, g_out);
  }
};

// `each(neurons)` for all neurons. Four vectors at a time: their tables about fill the first cache.
template <typename Each>
void over_neurons(const Groups& groups, int64_t rows, int64_t hidden, Each each) {
  for (int64_t first = 0; first < hidden;) {
    const int64_t left = hidden - first;
    if (left > 2 * V) {
      each(Neurons<4>(groups, rows, hidden, first));
      first += 4 * V;
    } else if (left > V) {
      each(Neurons<2>(groups, rows, hidden, first));
      first += 2 * V;
    } else {
      each(Neurons<1>(groups, rows, hidden, first));
      first += V;
    }
  }
}

// dz of -log p of the label, times the weight, where p = sigmoid(z) is clipped to [clip, 1 - clip]: a clipped
// row has none, and half of it where p is the bound, as jax.numpy.clip has it.
void slope(int64_t rows, float clip, const int8_t* y, const float* weight, const float* z, float* dz) {
  const auto of_some = [&](int64_t r, size_t count) {
    Floats z_V = {}, weight_V = {};
    Bytes y_V = {};
    std::memcpy(&z_V, z + r, count * sizeof(float));
    std::memcpy(&weight_V, weight + r, count * sizeof(float));
    std::memcpy(&y_V, y + r, count);
    const Floats p = 1 / (1 + exp(-z_V));
    const Floats low = Floats{} + clip, high = 1 - low, one = Floats{} + 1, half = Floats{} + 0.5f;
    const Ints inside = (p > low) & (p < high), at_bound = (p == low) | (p == high);
    const Floats share = (Floats)(inside & (Ints)one) + (Floats)(at_bound & (Ints)half);
    const Floats d = weight_V * (p - __builtin_convertvector(y_V, Floats)) * share;
    std::memcpy(dz + r, &d, count * sizeof(float));
  };
  int64_t r = 0;
  for (; r + V <= rows; r += V) of_some(r, V);
  if (r < rows) of_some(r, rows - r);
}

// What does not change while a run is trained.
void inputs(const Call& call) {
  const auto x = call.argument<int8_t>(0);
  const auto index = call.result<uint8_t>(0);
  const auto order = call.result<uint16_t>(1);
  const auto start = call.result<int32_t>(2);
  const int64_t rows = x.axis(2), features = x.axis(1), lanes = x.size() / (rows * features), n_groups = order.axis(2);
  const Groups groups(features, n_groups);
  std::vector<int32_t> next(groups.rows());
  std::memset(index.data, 0, index.size());
  for (int64_t lane = 0; lane < lanes; lane++) {
    const int8_t* x_ND = x.data + lane * rows * features;
    uint8_t* index_N8 = index.data + lane * rows * MOST;
    uint16_t* order_GN = order.data + lane * n_groups * rows;
    int32_t* start_T = start.data + lane * (groups.rows() + 1);
    std::fill(start_T, start_T + groups.rows() + 1, 0);
    for (int64_t r = 0; r < rows; r++)
      for (int g = 0; g < n_groups; g++) {
        uint8_t& at = index_N8[r * MOST + g];
        for (int b = 0; b < groups.bits[g]; b++) at |= x_ND[r * features + groups.begin[g] + b] << b;
        start_T[groups.row[g] + at + 1]++;
      }
    for (int t = 0; t < groups.rows(); t++) start_T[t + 1] += start_T[t];
    std::copy(start_T, start_T + groups.rows(), next.begin());
    for (int64_t r = 0; r < rows; r++)
      for (int g = 0; g < n_groups; g++) order_GN[next[groups.row[g] + index_N8[r * MOST + g]]++] = r;
  }
}

// The outputs z of one lane; and which neurons are on, a bit each, as they go through the rows.
void outputs(const Groups& groups, int64_t rows, int64_t hidden, const uint64_t* index, const float* w_in,
             const float* w_out, float* z, uint16_t* on) {
  thread_local Room<Floats> room;
  Floats* table = room.of(groups.rows() * 4);
  std::fill(z, z + rows, 0.f);
  over_neurons(groups, rows, hidden, [&](auto neurons) {
    neurons.build(w_in, table);
    uint16_t* bits = on ? on + neurons.first / V * rows : nullptr;
    if (groups.count == 5)
      neurons.template forward<5>(index, table, w_out, z, bits);
    else
      neurons.template forward<0>(index, table, w_out, z, bits);
  });
}

void outputs_of_all(const Call& call) {
  const auto index = call.argument<uint8_t>(0);
  const auto w_in = call.argument<float>(1), w_out = call.argument<float>(2);
  const auto n_groups = call.number<int64_t>("groups");
  const auto z = call.result<float>(0);
  const int64_t rows = index.axis(2), lanes = index.size() / (rows * MOST);
  const int64_t features = w_in.axis(2), hidden = w_in.axis(1);
  const Groups groups(features, n_groups);
  const uint64_t* index_LN = reinterpret_cast<const uint64_t*>(index.data);
  over_lanes(lanes, rows * hidden, [&](int64_t lane) {
    outputs(groups, rows, hidden, index_LN + lane * rows, w_in.data + lane * features * hidden,
            w_out.data + lane * hidden, z.data + lane * rows, nullptr);
  });
}

// What a gradient needs of the rows, and where those of a lane are.
struct Rows {
  const Array<const uint8_t> index;
  const Array<const uint16_t> order;
  const Array<const int32_t> start;
  const Array<const int8_t> y;
  const Array<const float> weight;
  const int64_t count, groups, starts;

  explicit Rows(const Call& call)  // its first five
      : index(call.argument<uint8_t>(0)),
        order(call.argument<uint16_t>(1)),
        start(call.argument<int32_t>(2)),
        y(call.argument<int8_t>(3)),
        weight(call.argument<float>(4)),
        count(order.axis(1)),
        groups(order.axis(2)),
        starts(start.axis(1)) {}
};

// The gradient of one lane's summed, weighted losses by w_in and w_out.
void gradient(const Groups& groups, const Rows& rows, int64_t lane, int64_t hidden, float clip, const float* w_in,
              const float* w_out, float* g_in, float* g_out) {
  thread_local Room<Floats> tables;
  thread_local Room<float> slopes;
  thread_local Room<uint16_t> bits, sloped;
  const uint64_t* index = reinterpret_cast<const uint64_t*>(rows.index.data) + lane * rows.count;
  const float* weight = rows.weight.data + lane * rows.count;
  int64_t count = rows.count;
  while (count > 0 && weight[count - 1] == 0) count--;  // behind them all are padding
  Floats* table = tables.of(groups.rows() * 4);
  float* dz = slopes.of(count);  // z, until its slope is known
  uint16_t* on = bits.of(count * ((hidden + 4 * V - 1) / (4 * V)) * 4);
  outputs(groups, count, hidden, index, w_in, w_out, dz, on);
  slope(count, clip, rows.y.data + lane * rows.count, weight, dz, dz);
  // A row whose loss is clipped has no slope. Where few have one, these alone are added, one by one.
  uint16_t* some = sloped.of(count + 1);
  int64_t n = 0;
  for (int64_t r = 0; r < count; r++) {
    some[n] = static_cast<uint16_t>(r);
    n += dz[r] != 0;
  }
  over_neurons(groups, count, hidden, [&](auto neurons) {
    const uint16_t* bits_here = on + neurons.first / V * count;
    if (n < count / 3)
      neurons.backward_of_some(index, some, n, dz, bits_here, table);
    else
      neurons.backward(rows.order.data + lane * rows.groups * rows.count, rows.start.data + lane * rows.starts, dz,
                       bits_here, table);
    neurons.fold(table, w_in, w_out, g_in, g_out);
  });
}

void gradient_of_all(const Call& call) {
  const Rows rows(call);
  const auto w_in = call.argument<float>(5), w_out = call.argument<float>(6);
  const auto clip = call.number<float>("clip");
  const auto g_in = call.result<float>(0), g_out = call.result<float>(1);
  const int64_t features = w_in.axis(2), hidden = w_in.axis(1);
  const Groups groups(features, rows.groups);
  over_lanes(w_out.size() / hidden, rows.count * hidden, [&](int64_t lane) {
    const int64_t in = lane * features * hidden, out = lane * hidden;
    gradient(groups, rows, lane, hidden, clip, w_in.data + in, w_out.data + out,
             g_in.data + in, g_out.data + out);
  });
}

// Step t, from 1 on, of AdamW of `size` weights p with gradient g and moments m and v, as optax has it, in place.
// `h`: learning_rate, weight_decay, b1, b2, eps.
void adamw(int64_t size, const float* h, int32_t t, const float* __restrict g, float* __restrict p,
           float* __restrict m, float* __restrict v) {
  const float rate = h[0], decay = h[1], b1 = h[2], b2 = h[3], eps = h[4];
  const float of_m = 1 / (1 - std::pow(b1, static_cast<float>(t))), of_v = 1 / (1 - std::pow(b2, static_cast<float>(t)));
  for (int64_t i = 0; i < size; i++) {
    m[i] = b1 * m[i] + (1 - b1) * g[i];
    v[i] = b2 * v[i] + (1 - b2) * g[i] * g[i];
    p[i] -= rate * (m[i] * of_m / (std::sqrt(v[i] * of_v) + eps) + decay * p[i]);
  }
}

void adamw_of_all(const Call& call) {
  const Rows rows(call);
  const auto h = call.argument<float>(5);
  const auto done = call.argument<int32_t>(6);
  const auto clip = call.number<float>("clip");
  const auto steps = call.number<int64_t>("steps");
  float* state[6];  // w_in and w_out, then their first moments, then their second: each is changed where it is
  for (int i = 0; i < 6; i++) {
    const auto from = call.argument<float>(7 + i);
    state[i] = call.result<float>(i).data;
    if (state[i] != from.data) std::memcpy(state[i], from.data, from.size() * sizeof(float));
  }
  const auto w_in = call.argument<float>(7);
  const int64_t features = w_in.axis(2), hidden = w_in.axis(1), size = features * hidden;
  const Groups groups(features, rows.groups);
  over_lanes(h.size() / 5, rows.count * hidden * steps, [&](int64_t lane) {
    thread_local Room<float> room;
    float* g_in = room.of(size + hidden);
    float* g_out = g_in + size;
    const float* h_5 = h.data + lane * 5;
    const int64_t in = lane * size, out = lane * hidden;
    for (int64_t step = 1; step <= steps; step++) {  // of one lane after the other: what it is made of stays near
      const int32_t t = static_cast<int32_t>(done.data[lane] + step);
      gradient(groups, rows, lane, hidden, clip, state[0] + in, state[1] + out, g_in, g_out);
      adamw(size, h_5, t, g_in, state[0] + in, state[2] + in, state[4] + in);
      adamw(hidden, h_5, t, g_out, state[1] + out, state[3] + out, state[5] + out);
    }
  });
}

}  // namespace

KERNEL(relu_inputs, inputs)
KERNEL(relu_outputs, outputs_of_all)
KERNEL(relu_gradient, gradient_of_all)
KERNEL(relu_adamw, adamw_of_all)
