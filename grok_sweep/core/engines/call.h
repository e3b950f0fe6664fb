// What XLA calls a kernel with, read by its interface in C: the templates of the one in C++ take a compiler longer
// than the kernels do, and someone waits for it.

#include <cstdint>
#include <cstring>
#include <new>
#include <stdexcept>
#include <string>

#include "xla/ffi/api/c_api.h"

namespace {

template <typename T>
constexpr XLA_FFI_DataType KIND = XLA_FFI_DataType_INVALID;
template <>
constexpr XLA_FFI_DataType KIND<float> = XLA_FFI_DataType_F32;
template <>
constexpr XLA_FFI_DataType KIND<int8_t> = XLA_FFI_DataType_S8;
template <>
constexpr XLA_FFI_DataType KIND<int32_t> = XLA_FFI_DataType_S32;
template <>
constexpr XLA_FFI_DataType KIND<int64_t> = XLA_FFI_DataType_S64;
template <>
constexpr XLA_FFI_DataType KIND<uint8_t> = XLA_FFI_DataType_U8;
template <>
constexpr XLA_FFI_DataType KIND<uint16_t> = XLA_FFI_DataType_U16;

// One that came, or one to be filled. The last axes are those of the kernel; lanes are all before, however many.
template <typename T>
struct Array {
  T* data;
  const int64_t* shape;
  int64_t rank;

  int64_t axis(int64_t from_the_end) const { return shape[rank - from_the_end]; }
  int64_t size() const {
    int64_t n = 1;
    for (int64_t i = 0; i < rank; i++) n *= shape[i];
    return n;
  }
};

// Of whatever is another thing than a kernel expects, std::invalid_argument is thrown, and jax raises it.
struct Call {
  const XLA_FFI_CallFrame& frame;

  template <typename T>
  Array<const T> argument(int64_t i) const {
    return array<const T, T>("argument", i, frame.args.size, frame.args.args);
  }

  template <typename T>
  Array<T> result(int64_t i) const {
    return array<T, T>("result", i, frame.rets.size, frame.rets.rets);
  }

  template <typename T>
  T number(const char* name) const {
    const XLA_FFI_Attrs& attrs = frame.attrs;
    for (int64_t i = 0; i < attrs.size; i++) {
      const XLA_FFI_ByteSpan& of = *attrs.names[i];
      if (std::string(of.ptr, of.len) != name || attrs.types[i] != XLA_FFI_AttrType_SCALAR) continue;
      const auto* scalar = static_cast<const XLA_FFI_Scalar*>(attrs.attrs[i]);
      if (scalar->dtype == KIND<T>) return *static_cast<const T*>(scalar->value);
    }
    throw std::invalid_argument(std::string(name) + " is missing, or of another dtype");
  }

 private:
  template <typename As, typename T>
  static Array<As> array(const char* what, int64_t i, int64_t count, void** all) {
    const auto* one = i < count ? static_cast<const XLA_FFI_Buffer*>(all[i]) : nullptr;
    if (one == nullptr || one->dtype != KIND<T>)
      throw std::invalid_argument(std::string(what) + " " + std::to_string(i) + " is missing, or of another dtype");
    return {static_cast<As*>(one->data), one->dims, one->rank};
  }
};

// What XLA asks of a function that it calls: first, with which version of the interface it was compiled.
template <typename Kernel>
XLA_FFI_Error* answer(XLA_FFI_CallFrame* frame, Kernel kernel) {
  auto* asked = frame->extension_start;  // its type has another name from jaxlib 0.11.1 on
  if (asked != nullptr && asked->type == XLA_FFI_Extension_Metadata) {
    XLA_FFI_Metadata* told = reinterpret_cast<XLA_FFI_Metadata_Extension*>(asked)->metadata;
    told->api_version = {XLA_FFI_Api_Version_STRUCT_SIZE, nullptr, XLA_FFI_API_MAJOR, XLA_FFI_API_MINOR};
    told->traits = 0;
#if defined(XLA_FFI_UNKNOWN_TYPE_ID)
    told->state_type_id = XLA_FFI_UNKNOWN_TYPE_ID;
#endif
    return nullptr;
  }
  const auto failed = [frame](const char* why, XLA_FFI_Error_Code code) {
    XLA_FFI_Error_Create_Args told = {XLA_FFI_Error_Create_Args_STRUCT_SIZE, nullptr, why, code};
    return frame->api->XLA_FFI_Error_Create(&told);
  };
  try {
    kernel(Call{*frame});
    return nullptr;
  } catch (const std::bad_alloc& error) {
    return failed(error.what(), XLA_FFI_Error_Code_RESOURCE_EXHAUSTED);
  } catch (const std::exception& error) {
    return failed(error.what(), XLA_FFI_Error_Code_INVALID_ARGUMENT);
  }
}

}  // namespace

#define KERNEL(name, function) \
  extern "C" XLA_FFI_Error* name(XLA_FFI_CallFrame* frame) { return answer(frame, function); }
