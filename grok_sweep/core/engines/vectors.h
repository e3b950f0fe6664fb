// What the kernels are written with: vectors of float32 that the compiler cuts as the processor has them.

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <new>
#include <thread>
#include <utility>
#include <vector>

namespace {

constexpr int V = 16;  // in a vector: 512 bits, or as many smaller ones as the processor has

typedef float Floats __attribute__((vector_size(4 * V)));
typedef int32_t Ints __attribute__((vector_size(4 * V)));
typedef int8_t Bytes __attribute__((vector_size(V)));

Floats relu(Floats v) { return 0 > v ? Floats{} : v; }  // one that is not a number stays that

// Elements of a, from 0 on, and of b, from V on.
template <size_t... I>
Floats pick(Floats a, Floats b) {
#if defined(__clang__)
  return __builtin_shufflevector(a, b, I...);
#else
  return __builtin_shuffle(a, b, Ints{I...});
#endif
}

// Adds up neighbours at a distance of D, with what is said for a sum, and puts those of two vectors into one: of
// `count` vectors half are left.
template <int D, typename Sum, size_t... I>
void merge(Floats* v, int count, Sum sum, std::index_sequence<I...>) {
  for (int i = 0; i < count / 2; i++) {
    const Floats a = v[2 * i], b = v[2 * i + 1];
    v[i] = sum(pick<(I & D ? V + I - D : I)...>(a, b), pick<(I & D ? V + I : I + D)...>(a, b));
  }
}

// The sums of V vectors, whose room it takes.
template <typename Sum>
Floats totals(Floats* v, Sum sum) {
  constexpr auto all = std::make_index_sequence<V>();
  merge<1>(v, V, sum, all);
  merge<2>(v, V / 2, sum, all);
  merge<4>(v, V / 4, sum, all);
  merge<8>(v, V / 8, sum, all);
  return v[0];
}

Floats totals(Floats* v) {
  return totals(v, [](Floats a, Floats b) { return a + b; });
}

// exp, to 2 units in the last place: 2^n e^r with |r| <= ln(2) / 2, by the polynomial of the Cephes library.
Floats exp(Floats v) {
  v = v > 88 ? Floats{} + 88 : v;
  v = v < -87 ? Floats{} - 87 : v;
  const Floats turns = v * 1.44269504f;
  const Ints n = __builtin_convertvector(turns + (turns > 0 ? Floats{} + 0.5f : Floats{} - 0.5f), Ints);
  const Floats whole = __builtin_convertvector(n, Floats);
  const Floats r = v - whole * 0.693359375f + whole * 2.12194440e-4f;
  Floats p = 1.9875691500e-4f * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  return (p * r * r + r + 1) * (Floats)((n + 127) << 23);
}

// One that keeps its room from call to call: a step is called a million times.
template <typename T>
struct Room {
  std::vector<T> room;
  T* of(int64_t size) {
    if (static_cast<int64_t>(room.size()) < size) room.resize(size);
    return room.data();
  }
};

int most_threads = 1;  // one worker a core has one; see `use_threads`

constexpr double WORTH = 4e5;  // nanoseconds of all lanes from which on threads are started, which takes some 50,000

// `each(lane)` of all lanes, by as many threads as there may be: a lane's numbers are the same on any. `cost`: of a
// lane, in nanoseconds, about. A lane without memory, of whichever thread, throws std::bad_alloc when all have ended.
template <typename Each>
void over_lanes(int64_t lanes, double cost, Each each) {
  std::atomic<int64_t> next{0};
  std::atomic<bool> no_memory{false};
  const auto some = [&] {
    try {
      for (int64_t lane; (lane = next++) < lanes && !no_memory;) each(lane);
    } catch (const std::bad_alloc&) {  // leaving a thread, it would end the process
      no_memory = true;
    }
  };
  std::vector<std::thread> others;
  try {
    const int64_t most = lanes * cost < WORTH ? 1 : std::min<int64_t>(most_threads, lanes);
    for (int64_t i = 1; i < most; i++) others.emplace_back(some);
  } catch (const std::exception&) {  // no more are to be had
  }
  some();
  for (std::thread& other : others) other.join();
  if (no_memory) throw std::bad_alloc();
}

}  // namespace

extern "C" void use_threads(int count) { most_threads = count; }
