// relu(x W) w of rows of bits, and its gradient, without a product: the method of four Russians.
//
// The bits are cut into groups of some five. For each group a table has the sums of those rows of W that any
// choice of its bits takes; it is built by doubling, once a step. The hidden layer of a row is then one row of
// each table, added up. Back the same way round: with G = sum over rows of x dz [x W > 0], a row's dz, where the
// neuron is on, is added to one row of each of as many tables, which are folded into G by halving.
//
// Arrays are as jax has them, lanes first: index LNG (which row of each table a row of x takes), w_in LDH,
// w_out LH, z and dz LN, g LDH. `on` has a bit for each row and neuron, laid out as the neurons go through.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "xla/ffi/api/ffi.h"
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

namespace ffi = xla::ffi;

namespace {

constexpr int V = 16;     // neurons in a vector: 512 bits, or as many smaller ones as the processor has
constexpr int MOST = 64;  // features, and so groups, at most

typedef float Floats __attribute__((vector_size(4 * V)));
typedef int32_t Ints __attribute__((vector_size(4 * V)));

Floats load(const float* from) {
  Floats v;
  std::memcpy(&v, from, sizeof v);
  return v;
}

void store(float* to, Floats v) { std::memcpy(to, &v, sizeof v); }

// Which are on, a bit each. One that is not a number is: it must not be lost.
#if defined(__AVX512F__)
uint16_t on_of(Floats v) { return _mm512_cmp_ps_mask((__m512)v, _mm512_setzero_ps(), _CMP_NLE_UQ); }
Floats only(uint16_t on, Floats v) { return (Floats)_mm512_maskz_mov_ps(on, (__m512)v); }
float total(Floats v) { return _mm512_reduce_add_ps((__m512)v); }
#else
constexpr Ints BITS = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768};

uint16_t on_of(Floats v) {
  Ints bits = ~(v <= 0) & BITS;
  int32_t sum = 0;
  for (int i = 0; i < V; i++) sum |= bits[i];
  return static_cast<uint16_t>(sum);
}

Floats only(uint16_t on, Floats v) {
  Ints bits = (BITS & static_cast<int32_t>(on)) != 0;
  return (Floats)((Ints)v & bits);
}

float total(Floats v) {
  float sum = 0;
  for (int i = 0; i < V; i++) sum += v[i];
  return sum;
}
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
};

// C vectors of neurons go through all rows at once: their tables stay in the first cache.
template <int C>
struct Neurons {
  static constexpr int W = C * V;
  const Groups& groups;
  const int64_t rows, hidden, first, count;  // `count` of the neurons from `first` on are there

  Neurons(const Groups& groups, int64_t rows, int64_t hidden, int64_t first)
      : groups(groups), rows(rows), hidden(hidden), first(first), count(std::min<int64_t>(W, hidden - first)) {}

  void build(const float* w_in, float* table) const {
    for (int g = 0; g < groups.count; g++) {
      float* t = table + groups.row[g] * W;
      std::memset(t, 0, W * sizeof(float));
      for (int b = 0; b < groups.bits[g]; b++) {
        float row[W] = {0};
        std::memcpy(row, w_in + (groups.begin[g] + b) * hidden + first, count * sizeof(float));
        float* next = t + (1 << b) * W;
        for (int i = 0; i < W << b; i += V) store(next + i, load(t + i) + load(row + i % W));
      }
    }
  }

  void fold(float* table, float* g_DH) const {
    for (int g = 0; g < groups.count; g++) {
      float* t = table + groups.row[g] * W;
      for (int b = groups.bits[g] - 1; b >= 0; b--) {
        float row[W] = {0};
        float* half = t + (1 << b) * W;
        for (int i = 0; i < W << b; i += V) {
          store(row + i % W, load(row + i % W) + load(half + i));
          store(t + i, load(t + i) + load(half + i));
        }
        std::memcpy(g_DH + (groups.begin[g] + b) * hidden + first, row, count * sizeof(float));
      }
    }
  }

  // G groups, or as many as there are where that is 0: known ones are written out by the compiler.
  template <int G>
  void forward(const uint8_t* index, const float* table, const float* w_out, float* z, uint16_t* on) const {
    const int64_t n_groups = G ? G : groups.count;
    float w[W] = {0};
    std::memcpy(w, w_out + first, count * sizeof(float));
    for (int64_t r = 0; r < rows; r++) {
      const uint8_t* x = index + r * n_groups;
      Floats h[C];
      for (int c = 0; c < C; c++) h[c] = load(table + x[0] * W + c * V);
      for (int64_t g = 1; g < n_groups; g++) {
        const float* t = table + (groups.row[g] + x[g]) * W;
        for (int c = 0; c < C; c++) h[c] += load(t + c * V);
      }
      Floats sum = {0};
      for (int c = 0; c < C; c++) {
        const uint16_t bits = on_of(h[c]);
        if (on) on[r * C + c] = bits;
        sum += only(bits, h[c]) * load(w + c * V);
      }
      z[r] += total(sum);
    }
  }

  template <int G>
  void backward(const uint8_t* index, const std::vector<int32_t>& sloped, const float* dz, const uint16_t* on,
                float* table) const {
    const int64_t n_groups = G ? G : groups.count;
    for (const int32_t r : sloped) {
      const uint8_t* x = index + r * n_groups;
      Floats d[C];
      for (int c = 0; c < C; c++) d[c] = only(on[r * C + c], Floats{} + dz[r]);
      for (int64_t g = 0; g < n_groups; g++) {
        float* t = table + (groups.row[g] + x[g]) * W;
        for (int c = 0; c < C; c++) store(t + c * V, load(t + c * V) + d[c]);
      }
    }
  }
};

// `each(neurons, which)` for all neurons, two vectors at a time; `which` counts vectors.
template <typename Each>
void over_neurons(const Groups& groups, int64_t rows, int64_t hidden, Each each) {
  int64_t first = 0;
  for (; hidden - first > V; first += 2 * V) each(Neurons<2>(groups, rows, hidden, first), first / V);
  if (first < hidden) each(Neurons<1>(groups, rows, hidden, first), first / V);
}

void forward(int64_t lanes, int64_t rows, int64_t features, int64_t n_groups, int64_t hidden, const uint8_t* index,
             const float* w_in, const float* w_out, float* z, uint16_t* on) {
  const Groups groups(features, n_groups);
  const int64_t vectors = (hidden + V - 1) / V;
  std::vector<float> table(groups.row[n_groups] * 2 * V);
  std::memset(z, 0, lanes * rows * sizeof(float));
  for (int64_t lane = 0; lane < lanes; lane++) {
    over_neurons(groups, rows, hidden, [&](auto neurons, int64_t which) {
      neurons.build(w_in, table.data());
      uint16_t* bits = on ? on + which * rows : nullptr;
      if (n_groups == 6)
        neurons.template forward<6>(index, table.data(), w_out, z, bits);
      else
        neurons.template forward<0>(index, table.data(), w_out, z, bits);
    });
    index += rows * n_groups;
    w_in += features * hidden;
    w_out += hidden;
    z += rows;
    if (on) on += rows * vectors;
  }
}

// The last axes are those above; lanes are all before, however many axes they have.
int64_t axis(ffi::Span<const int64_t> of, size_t from_the_end) { return of[of.size() - from_the_end]; }

void any_forward(const ffi::Buffer<ffi::U8>& index, const ffi::Buffer<ffi::F32>& w_in,
                 const ffi::Buffer<ffi::F32>& w_out, float* z, uint16_t* on) {
  const auto x = index.dimensions(), w = w_in.dimensions();
  const int64_t rows = axis(x, 2), n_groups = axis(x, 1);
  forward(index.element_count() / (rows * n_groups), rows, axis(w, 2), n_groups, axis(w, 1), index.typed_data(),
          w_in.typed_data(), w_out.typed_data(), z, on);
}

ffi::Error Outputs(ffi::Buffer<ffi::U8> index, ffi::Buffer<ffi::F32> w_in, ffi::Buffer<ffi::F32> w_out,
                   ffi::ResultBuffer<ffi::F32> z) {
  any_forward(index, w_in, w_out, z->typed_data(), nullptr);
  return ffi::Error::Success();
}

ffi::Error Forward(ffi::Buffer<ffi::U8> index, ffi::Buffer<ffi::F32> w_in, ffi::Buffer<ffi::F32> w_out,
                   ffi::ResultBuffer<ffi::F32> z, ffi::ResultBuffer<ffi::U16> on) {
  any_forward(index, w_in, w_out, z->typed_data(), on->typed_data());
  return ffi::Error::Success();
}

ffi::Error Backward(ffi::Buffer<ffi::U8> index, ffi::Buffer<ffi::F32> dz, ffi::Buffer<ffi::U16> on,
                    ffi::ResultBuffer<ffi::F32> g) {
  const auto x = index.dimensions(), out = g->dimensions();
  const int64_t rows = axis(x, 2), n_groups = axis(x, 1), features = axis(out, 2), hidden = axis(out, 1);
  const int64_t lanes = index.element_count() / (rows * n_groups), vectors = (hidden + V - 1) / V;
  const Groups groups(features, n_groups);
  std::vector<float> table(groups.row[n_groups] * 2 * V);
  std::vector<int32_t> sloped;  // rows that are padding, or whose loss is clipped, have no slope
  for (int64_t lane = 0; lane < lanes; lane++) {
    const uint8_t* index_NG = index.typed_data() + lane * rows * n_groups;
    const float* dz_N = dz.typed_data() + lane * rows;
    const uint16_t* on_NH = on.typed_data() + lane * rows * vectors;
    float* g_DH = g->typed_data() + lane * features * hidden;
    sloped.clear();
    for (int32_t r = 0; r < rows; r++)
      if (dz_N[r] != 0) sloped.push_back(r);
    over_neurons(groups, rows, hidden, [&](auto neurons, int64_t which) {
      std::fill(table.begin(), table.end(), 0.f);
      const uint16_t* bits = on_NH + which * rows;
      if (n_groups == 6)
        neurons.template backward<6>(index_NG, sloped, dz_N, bits, table.data());
      else
        neurons.template backward<0>(index_NG, sloped, dz_N, bits, table.data());
      neurons.fold(table.data(), g_DH);
    });
  }
  return ffi::Error::Success();
}

}  // namespace

XLA_FFI_DEFINE_HANDLER_SYMBOL(relu_outputs, Outputs,
                              ffi::Ffi::Bind()
                                  .Arg<ffi::Buffer<ffi::U8>>()
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Ret<ffi::Buffer<ffi::F32>>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(relu_forward, Forward,
                              ffi::Ffi::Bind()
                                  .Arg<ffi::Buffer<ffi::U8>>()
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Ret<ffi::Buffer<ffi::F32>>()
                                  .Ret<ffi::Buffer<ffi::U16>>());
XLA_FFI_DEFINE_HANDLER_SYMBOL(relu_backward, Backward,
                              ffi::Ffi::Bind()
                                  .Arg<ffi::Buffer<ffi::U8>>()
                                  .Arg<ffi::Buffer<ffi::F32>>()
                                  .Arg<ffi::Buffer<ffi::U16>>()
                                  .Ret<ffi::Buffer<ffi::F32>>());
