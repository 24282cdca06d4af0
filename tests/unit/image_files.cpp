// Picture files, IDX files and folders of pictures, good and bad.
#include <zlib.h>

#include <fstream>

#include "data/idx.h"
#include "data/image.h"
#include "data/image_folder.h"
#include "tests/catch.h"
#include "tests/cli/program.h"

namespace image_files_tests {
using namespace zoo::data;
using zoo::test::Scratch;
namespace fs = std::filesystem;

std::string error_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const std::runtime_error& error) {
    return error.what();
  }
  return "";
}
bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

std::string idx_bytes(std::vector<uint32_t> shape, const std::string& data) {
  std::string bytes = {0, 0, 8, static_cast<char>(shape.size())};
  for (const uint32_t side : shape) {
    for (const int shift : {24, 16, 8, 0}) bytes += static_cast<char>(side >> shift);
  }
  return bytes + data;
}

void write_gz(const fs::path& path, const std::string& bytes) {
  gzFile file = gzopen(path.c_str(), "wb");
  REQUIRE(file != nullptr);
  REQUIRE(gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size())) == static_cast<int>(bytes.size()));
  gzclose(file);
}

TEST_CASE("IDX files are read plain and gzipped", "[data][idx]") {
  const Scratch scratch;
  const std::string bytes = idx_bytes({2, 1, 2}, "\x01\x02\x03\xff");
  const auto plain = scratch.write("plain", bytes);
  write_gz(scratch / "packed.gz", bytes);
  const at::Tensor expected = at::tensor({1, 2, 3, 255}, at::kLong).to(at::kByte).view({2, 1, 2});
  CHECK(at::equal(read_idx(plain), expected));
  CHECK(at::equal(read_idx(scratch / "packed.gz"), expected));
}

TEST_CASE("damaged IDX files are refused with their name", "[data][idx]") {
  const Scratch scratch;
  const auto refused = [&](const std::string& name, const std::string& bytes) {
    const auto file = scratch.write(name, bytes);
    const std::string message = error_of([&] { read_idx(file); });
    CHECK(has(message, file.string()));
    return message;
  };
  CHECK(has(refused("short", std::string("\0\0", 2)), "too short"));
  CHECK(has(refused("text", "hello, this is text"), "not an IDX file"));
  CHECK(has(refused("floats", std::string("\0\0\x0d\1\0\0\0\1....", 12)), "element type 13"));
  CHECK(has(refused("axes", std::string("\0\0\x08\x09", 4)), "9 axes"));
  CHECK(has(refused("header", std::string("\0\0\x08\2\0\0\0\1", 8)), "ends inside its header"));
  CHECK(has(refused("cut", idx_bytes({3, 2}, "12345")), "holds 5 of the 6 bytes"));
  CHECK(has(refused("long", idx_bytes({3}, "1234")), "longer than the 3 bytes"));
  CHECK(has(refused("lie", idx_bytes({0xffffffff, 0xffffffff, 0xffffffff}, "1")), "more than 16 GiB"));
  CHECK(has(refused("big", idx_bytes({1u << 30}, "1")), "holds 1 of the 1073741824 bytes"));  // allocates nothing like it

  write_gz(scratch / "whole.gz", idx_bytes({1000}, std::string(1000, 'x')));
  const std::string packed = zoo::test::file_text(scratch / "whole.gz");
  CHECK(refused("cut.gz", packed.substr(0, packed.size() - 9)) != "");
  CHECK(has(error_of([&] { read_idx(scratch / "absent"); }), "cannot be opened"));
}

TEST_CASE("an MNIST-like folder gives its splits, and its two files must agree", "[data][idx]") {
  const Scratch scratch;
  scratch.write("set/train-images-idx3-ubyte", idx_bytes({2, 1, 1}, "ab"));
  scratch.write("set/train-labels-idx1-ubyte", idx_bytes({2}, std::string("\0\1", 2)));
  scratch.write("set/t10k-images-idx3-ubyte", idx_bytes({3, 1, 1}, "abc"));
  scratch.write("set/t10k-labels-idx1-ubyte", idx_bytes({2}, std::string("\0\1", 2)));
  CHECK(is_idx_folder(scratch / "set"));
  CHECK_FALSE(is_idx_folder(scratch.path()));
  CHECK(idx_splits(scratch / "set") == std::vector<std::string>{"train", "test"});
  CHECK(read_idx_split(scratch / "set", "train").labels.equal(at::tensor({0, 1}, at::kLong)));
  CHECK(has(error_of([&] { read_idx_split(scratch / "set", "test"); }), "holds 3 pictures but t10k-labels-idx1-ubyte 2 labels"));
  CHECK(has(error_of([&] { read_idx_split(scratch / "set", "validation"); }), "has no images"));
  CHECK(idx_class_names(scratch / "set", 10)[3] == "3");
  CHECK(idx_class_names("/data/fashion-mnist", 10)[9] == "Ankle boot");
  CHECK(idx_class_names("/data/FashionMNIST/", 10)[0] == "T-shirt/top");
}

at::Tensor colours() {  // red, green / blue, white
  return at::tensor({255, 0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255}, at::kLong).to(at::kByte).view({2, 2, 3});
}

TEST_CASE("pictures survive writing and reading, in colour and grey", "[data][image]") {
  NEEDS(image_files_supported(), "a build with OpenCV");
  const Scratch scratch;
  const auto file = scratch.write("colours.png", encode_png(colours()));
  CHECK(at::equal(read_image(file, 3), colours()));
  // Pillow: Image.new("RGB", ...).convert("L")
  CHECK(at::equal(read_image(file, 1), at::tensor({76, 150, 29, 255}, at::kLong).to(at::kByte).view({2, 2, 1})));
  const at::Tensor grey = at::tensor({0, 128, 255}, at::kLong).to(at::kByte).view({1, 3, 1});
  CHECK(at::equal(read_image(scratch.write("grey.png", encode_png(grey)), 1), grey));
  CHECK(at::equal(decode_image(encode_png(grey), 3, "grey"), grey.expand({1, 3, 3})));
}

TEST_CASE("what is no picture is refused with its name", "[data][image]") {
  NEEDS(image_files_supported(), "a build with OpenCV");
  const Scratch scratch;
  const auto refused = [&](const std::string& name, const std::string& bytes) {
    const auto file = scratch.write(name, bytes);
    const std::string message = error_of([&] { read_image(file, 3); });
    CHECK(has(message, file.string()));
    return message;
  };
  CHECK(has(refused("text.png", "not a picture at all"), "not a picture"));
  CHECK(has(refused("empty.png", ""), "is empty"));
  const std::string png = encode_png(colours());
  std::string huge = png;
  huge.replace(16, 8, std::string("\x7f\xff\xff\xff\x7f\xff\xff\xff", 8));
  CHECK(has(refused("huge.png", huge), "at most 2^28"));
  CHECK(refused("cut.png", png.substr(0, png.size() / 2)) != "");
  CHECK(has(refused("cut.jpg", std::string("\xff\xd8\xff\xe0 and nothing more", 21)), "cut short"));
  CHECK(has(error_of([&] { read_image(scratch / "absent.png", 3); }), "cannot be opened"));
  CHECK(has(error_of([&] { read_image(scratch.path(), 3); }), "is a folder"));
}

TEST_CASE("a folder of pictures lists classes and files in order", "[data][image_folder]") {
  const Scratch scratch;
  for (const auto* name : {"flat/b/2.png", "flat/b/1.JPG", "flat/a/deep/x.jpeg", "flat/a/notes.txt", "flat/.hidden/z.png", "flat/b/.z.png"}) scratch.write(name, "");
  const auto flat = list_image_folder(scratch / "flat", "");
  CHECK(flat.classes == std::vector<std::string>{"a", "b"});
  CHECK(flat.labels == std::vector<int64_t>{0, 1, 1});
  REQUIRE(flat.files.size() == 3);
  CHECK(flat.files[1].filename() == "1.JPG");
  CHECK(image_folder_splits(scratch / "flat").empty());
}

TEST_CASE("splits of a folder number their classes alike", "[data][image_folder]") {
  const Scratch scratch;
  for (const auto* name : {"set/train/a/1.png", "set/train/b/1.png", "set/val/b/2.png", "set/test/c/3.png"}) scratch.write(name, "");
  CHECK(image_folder_splits(scratch / "set") == std::vector<std::string>{"train", "validation", "test"});
  CHECK(list_image_folder(scratch / "set", "validation").labels == std::vector<int64_t>{1});
  CHECK(list_image_folder(scratch / "set", "test").classes == std::vector<std::string>{"a", "b", "c"});
}

TEST_CASE("folders without pictures are refused", "[data][image_folder]") {
  const Scratch scratch;
  fs::create_directories(scratch / "empty");
  scratch.write("texts/a/notes.txt", "");
  CHECK(has(error_of([&] { list_image_folder(scratch / "empty", ""); }), "no class folders"));
  CHECK(has(error_of([&] { list_image_folder(scratch / "texts", ""); }), "hold no pictures"));
  CHECK(has(error_of([&] { list_image_folder(scratch / "absent", ""); }), "no such folder"));
  CHECK(has(error_of([&] { list_image_folder(scratch / "texts", "test"); }), "has no split 'test'"));
}

}  // namespace image_files_tests
