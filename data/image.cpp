#include "data/image.h"

#include <array>
#include <cctype>
#include <cstring>
#include <fstream>
#include <stdexcept>

#ifdef ZOO_IMAGES
#include <opencv2/imgcodecs.hpp>
#endif

namespace zoo::data {
namespace image_detail {

constexpr uint64_t kMaxPixels = uint64_t{1} << 28;
constexpr uint64_t kMaxFileBytes = uint64_t{1} << 30;

std::string read_bytes(const std::filesystem::path& path) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) throw std::runtime_error(path.string() + ": is a folder, expected a picture file");
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) throw std::runtime_error(path.string() + ": cannot be opened (does it exist, and may it be read?)");
  const auto size = static_cast<std::streamoff>(file.tellg());
  if (size <= 0) throw std::runtime_error(path.string() + ": is empty, expected a picture");
  if (static_cast<uint64_t>(size) > kMaxFileBytes) throw std::runtime_error(path.string() + ": is larger than 1 GiB, no picture that zoo reads");
  std::string bytes(static_cast<size_t>(size), '\0');
  file.seekg(0);
  if (!file.read(bytes.data(), size)) throw std::runtime_error(path.string() + ": reading failed");
  return bytes;
}

uint32_t big_endian_32(std::string_view bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
  return value;
}

// What the decoder would only find out after allocating (PNG sizes) or pass over with a warning (JPEG without its end).
void check_container(std::string_view bytes, const std::string& name) {
  const bool png = bytes.size() >= 24 && bytes.substr(0, 8) == std::string_view("\x89PNG\r\n\x1a\n", 8);
  if (png) {
    const uint64_t width = big_endian_32(bytes, 16), height = big_endian_32(bytes, 20);
    if (width * height > kMaxPixels) {
      throw std::runtime_error(name + ": claims " + std::to_string(width) + " x " + std::to_string(height) + " pixels; at most 2^28 are read");
    }
  }
  const bool jpeg = bytes.substr(0, 3) == "\xff\xd8\xff";
  if (jpeg && bytes.rfind("\xff\xd9") == std::string_view::npos) throw std::runtime_error(name + ": the JPEG file is cut short");
}

}  // namespace image_detail

bool is_image_name(const std::filesystem::path& path) {
  static const std::array<const char*, 12> known = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif",
                                                    ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".jp2"};
  std::string extension = path.extension().string();
  for (auto& c : extension) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  for (const char* name : known) {
    if (extension == name) return true;
  }
  return false;
}

at::Tensor read_image(const std::filesystem::path& path, int64_t channels) {
  return decode_image(image_detail::read_bytes(path), channels, path.string());
}

#ifdef ZOO_IMAGES

namespace image_detail {

cv::Mat decode(std::string_view bytes, const std::string& name) {
  check_container(bytes, name);
  cv::Mat decoded;
  try {
    const cv::Mat raw(1, static_cast<int>(bytes.size()), CV_8UC1, const_cast<char*>(bytes.data()));
    decoded = cv::imdecode(raw, cv::IMREAD_UNCHANGED);
  } catch (const cv::Exception& error) {
    throw std::runtime_error(name + ": cannot be decoded as a picture (" + error.err + ")");
  }
  if (decoded.empty()) throw std::runtime_error(name + ": not a picture, or a damaged one (expected PNG, JPEG, BMP, TIFF, WebP or PPM)");
  if (decoded.depth() == CV_16U) decoded.convertTo(decoded, CV_8U, 1.0 / 257.0);
  if (decoded.depth() != CV_8U) throw std::runtime_error(name + ": has pixels that are neither 8 nor 16 bits wide");
  return decoded;
}

}  // namespace image_detail

at::Tensor decode_image(std::string_view bytes, int64_t channels, const std::string& name) {
  if (channels != 1 && channels != 3) {
    throw std::invalid_argument(name + ": pictures are read with 1 or 3 channels, the network wants " + std::to_string(channels));
  }
  const cv::Mat decoded = image_detail::decode(bytes, name);
  const int from = decoded.channels();
  const at::Tensor picture = at::empty({decoded.rows, decoded.cols, channels}, at::kByte);
  auto* out = picture.data_ptr<uint8_t>();
  for (int y = 0; y < decoded.rows; ++y) {
    const uint8_t* in = decoded.ptr<uint8_t>(y);
    for (int x = 0; x < decoded.cols; ++x, in += from, out += channels) {
      // OpenCV's order is blue, green, red, alpha; one or two channels are grey and alpha.
      const uint32_t red = in[from >= 3 ? 2 : 0], green = in[from >= 3 ? 1 : 0], blue = in[0];
      if (channels == 1) {
        out[0] = from >= 3 ? static_cast<uint8_t>((19595 * red + 38470 * green + 7471 * blue + 0x8000) >> 16) : in[0];
      } else {
        out[0] = static_cast<uint8_t>(red), out[1] = static_cast<uint8_t>(green), out[2] = static_cast<uint8_t>(blue);
      }
    }
  }
  return picture;
}

std::string encode_png(const at::Tensor& picture) {
  TORCH_CHECK_VALUE(picture.dim() == 3 && picture.scalar_type() == at::kByte && (picture.size(2) == 1 || picture.size(2) == 3),
                    "encode_png: expected a picture [H, W, 1 or 3] of uint8, got ", picture.sizes());
  const at::Tensor swapped = picture.size(2) == 3 ? picture.flip(2).contiguous() : picture.contiguous();
  const cv::Mat mat(static_cast<int>(swapped.size(0)), static_cast<int>(swapped.size(1)), swapped.size(2) == 3 ? CV_8UC3 : CV_8UC1,
                    swapped.data_ptr<uint8_t>());
  std::vector<uint8_t> bytes;
  if (!cv::imencode(".png", mat, bytes)) throw std::runtime_error("encode_png: the picture could not be encoded");
  return {bytes.begin(), bytes.end()};
}

bool image_files_supported() { return true; }

#else

at::Tensor decode_image(std::string_view, int64_t, const std::string& name) {
  throw std::runtime_error(name + ": this zoo was built without picture files (cmake -DZOO_IMAGES=ON needs OpenCV)");
}

std::string encode_png(const at::Tensor&) {
  throw std::runtime_error("PNG files cannot be written: this zoo was built without picture files (cmake -DZOO_IMAGES=ON needs OpenCV)");
}

bool image_files_supported() { return false; }

#endif

}  // namespace zoo::data
