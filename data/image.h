// Picture files: reading and writing by OpenCV, which nothing else in the project includes.
//
// A picture is a tensor [H, W, C] of uint8, C = 1 (grey) or 3 (red, green, blue). As Pillow does by default, the EXIF
// orientation is not applied, transparency is dropped, and grey is (19595 R + 38470 G + 7471 B) / 65536.
#pragma once
#include <ATen/ATen.h>

#include <filesystem>
#include <string>

namespace zoo::data {

// Reads a PNG, JPEG, BMP, TIFF, WebP, PPM ... as [H, W, channels]; channels is 1 or 3. 16-bit pictures keep their upper byte.
// Throws std::runtime_error naming the file when it cannot be read, is not a picture, is cut short, or claims more than
// 2^28 pixels.
at::Tensor read_image(const std::filesystem::path& path, int64_t channels);
// The same from memory; `name` is for messages.
at::Tensor decode_image(std::string_view bytes, int64_t channels, const std::string& name);

// [H, W, C] uint8 to the bytes of a PNG file.
std::string encode_png(const at::Tensor& picture);

// By the extension: could this be a picture?
bool is_image_name(const std::filesystem::path& path);

// False when the program was built without OpenCV: the functions above then throw and say so.
bool image_files_supported();

}  // namespace zoo::data
