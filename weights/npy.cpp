#include "weights/npy.h"

#include <algorithm>
#include <array>
#include <regex>
#include <stdexcept>
#include <string>

#include "weights/byte_reader.h"
#include "weights/mapped_tensor.h"

namespace zoo::weights {

namespace npy_detail {

constexpr std::string_view kMagic("\x93NUMPY", 6);

struct Type {
  const char* text;
  at::ScalarType type;
};
constexpr std::array kTypes{
    Type{"<f4", at::kFloat}, Type{"<f8", at::kDouble}, Type{"<f2", at::kHalf},   Type{"<i8", at::kLong},
    Type{"<i4", at::kInt},   Type{"<i2", at::kShort},  Type{"|i1", at::kChar},   Type{"|u1", at::kByte},
    Type{"|b1", at::kBool},  Type{"<u2", at::kUInt16}, Type{"<u4", at::kUInt32}, Type{"<u8", at::kUInt64},
    Type{"<c8", at::kComplexFloat}, Type{"<c16", at::kComplexDouble},
};

const Type& type_of(at::ScalarType type) {
  for (const Type& known : kTypes) {
    if (known.type == type) return known;
  }
  throw std::invalid_argument(std::string("NumPy has no element type for ") + c10::toString(type));
}

// Magic, version 1.0, header length, then a Python dict literal padded so that the data begins at a multiple
// of 64.
std::string header(const at::Tensor& tensor) {
  std::string shape;
  for (int64_t size : tensor.sizes()) shape += std::to_string(size) + ", ";
  if (tensor.dim() > 1) shape.resize(shape.size() - 2);
  if (tensor.dim() == 1) shape.pop_back();
  std::string dict = std::string("{'descr': '") + type_of(tensor.scalar_type()).text +
                     "', 'fortran_order': False, 'shape': (" + shape + "), }";
  dict.append(63 - (10 + dict.size()) % 64, ' ');
  dict += '\n';
  std::string text(kMagic);
  text += {'\x01', '\x00', static_cast<char>(dict.size() & 0xff), static_cast<char>(dict.size() >> 8)};
  return text + dict;
}

std::string match(const std::string& text, const char* pattern, const char* what) {
  std::smatch found;
  if (!std::regex_search(text, found, std::regex(pattern)))
    throw std::runtime_error(std::string("its header has no ") + what);
  return found[1];
}

std::vector<int64_t> parse_shape(const std::string& text) {
  std::vector<int64_t> shape;
  static const std::regex number("[0-9]+");
  for (auto it = std::sregex_iterator(text.begin(), text.end(), number); it != std::sregex_iterator(); ++it) {
    if (it->length() > 18) throw std::runtime_error("its shape (" + text + ") is too large");
    shape.push_back(std::stoll(it->str()));
  }
  return shape;
}

std::vector<int64_t> reversed_order(int64_t dimensions) {
  std::vector<int64_t> order;
  for (int64_t i = dimensions; i-- > 0;) order.push_back(i);
  return order;
}

at::Tensor read(const MappedFile& file) {
  ByteReader reader(file, 0, file.size());
  if (reader.take(kMagic.size()) != kMagic) throw std::runtime_error("does not begin with the .npy mark");
  const auto version = reader.number<uint8_t>();
  reader.take(1);
  if (version < 1 || version > 3)
    throw std::runtime_error("version " + std::to_string(version) + " is unknown");
  const uint64_t length = version == 1 ? reader.number<uint16_t>() : reader.number<uint32_t>();
  if (length > 4096)
    throw std::runtime_error("its header of " + std::to_string(length) + " bytes is too long");
  const std::string text(reader.take(length));

  const std::string descr =
      match(text, "'descr': *'([^']*)'", "plain element type (objects and records are refused)");
  const auto type =
      std::find_if(kTypes.begin(), kTypes.end(), [&](const Type& known) { return descr == known.text; });
  if (type == kTypes.end()) throw std::runtime_error("element type '" + descr + "' is not supported");
  std::vector<int64_t> shape = parse_shape(match(text, "'shape': *\\(([0-9, ]*)\\)", "shape"));
  const bool fortran = match(text, "'fortran_order': *(True|False)", "fortran_order") == "True";

  uint64_t bytes = static_cast<uint64_t>(checked_elements(shape));
  if (__builtin_mul_overflow(bytes, c10::elementSize(type->type), &bytes) || bytes != reader.remaining()) {
    throw std::runtime_error("shape " + shape_text(shape) + " of '" + descr + "' does not take the " +
                             std::to_string(reader.remaining()) + " bytes of the file (truncated?)");
  }
  if (fortran) std::reverse(shape.begin(), shape.end());
  at::Tensor tensor = at::empty(shape, type->type);
  if (bytes > 0) std::memcpy(tensor.data_ptr(), reader.take(bytes).data(), bytes);
  // Column-major data of a shape is row-major data of the reversed shape, seen with its dimensions reversed.
  return fortran ? tensor.permute(reversed_order(tensor.dim())).contiguous() : tensor;
}

}  // namespace npy_detail

void save_npy(const std::filesystem::path& path, const at::Tensor& tensor) {
  at::Tensor plain = tensor.detach().resolve_conj().resolve_neg().to(at::kCPU).contiguous();
  const bool narrow =
      plain.is_floating_point() && plain.element_size() < 4 && plain.scalar_type() != at::kHalf;
  if (narrow) plain = plain.to(at::kFloat);
  const std::string header = npy_detail::header(plain);
  AtomicFile file(path);
  file.write(header.data(), header.size());
  file.write(plain.data_ptr(), plain.nbytes());
  file.commit();
}

at::Tensor load_npy(const std::filesystem::path& path) {
  try {
    return npy_detail::read(*MappedFile::open(path));
  } catch (const std::runtime_error& error) {
    throw std::runtime_error(path.string() + ": bad .npy file: " + error.what());
  }
}

}  // namespace zoo::weights
