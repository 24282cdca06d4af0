#include "data/idx.h"

#include <zlib.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <memory>
#include <stdexcept>

namespace zoo::data {
namespace idx_detail {

constexpr uint64_t kMaxBytes = uint64_t{1} << 34;
constexpr size_t kChunk = size_t{8} << 20;

// zlib's reader takes plain files too.
class Reader {
 public:
  explicit Reader(const std::filesystem::path& path) : path_(path), file_(gzopen(path.c_str(), "rb"), gzclose) {
    if (!file_) throw std::runtime_error(path.string() + ": cannot be opened (does it exist, and may it be read?)");
    gzbuffer(file_.get(), 1 << 20);
  }
  size_t read(void* into, size_t bytes) {
    const int got = gzread(file_.get(), into, static_cast<unsigned>(bytes));
    int code = Z_OK;
    const char* text = gzerror(file_.get(), &code);
    if (got < 0 || (code != Z_OK && code != Z_STREAM_END && code != Z_BUF_ERROR)) fail(std::string("is damaged (") + text + ")");
    if (code == Z_BUF_ERROR) fail("is cut short (the gzip stream does not end)");
    return static_cast<size_t>(got);
  }
  [[noreturn]] void fail(const std::string& what) const { throw std::runtime_error(path_.string() + ": " + what); }

 private:
  std::filesystem::path path_;
  std::unique_ptr<gzFile_s, int (*)(gzFile)> file_;
};

std::vector<int64_t> read_shape(Reader& reader) {
  unsigned char magic[4];
  if (reader.read(magic, 4) != 4) reader.fail("is too short for an IDX file");
  if (magic[0] != 0 || magic[1] != 0) reader.fail("is not an IDX file (its first two bytes are not zero)");
  if (magic[2] != 8) reader.fail("has element type " + std::to_string(magic[2]) + "; only 8 (unsigned bytes) is read");
  if (magic[3] < 1 || magic[3] > 4) reader.fail("has " + std::to_string(magic[3]) + " axes; expected 1 to 4");
  std::vector<int64_t> shape;
  for (int i = 0; i < magic[3]; ++i) {
    unsigned char b[4];
    if (reader.read(b, 4) != 4) reader.fail("ends inside its header");
    shape.push_back(int64_t{b[0]} << 24 | int64_t{b[1]} << 16 | int64_t{b[2]} << 8 | int64_t{b[3]});
  }
  return shape;
}

std::filesystem::path split_file(const std::filesystem::path& folder, const std::string& split, const char* kind) {
  if (split != "train" && split != "test") return {};
  const std::string stem = (split == "train" ? "train-" : "t10k-") + std::string(kind);
  for (const auto* name : {"-ubyte.gz", "-ubyte"}) {
    if (std::filesystem::is_regular_file(folder / (stem + name))) return folder / (stem + name);
  }
  return {};
}

}  // namespace idx_detail

at::Tensor read_idx(const std::filesystem::path& path) {
  idx_detail::Reader reader(path);
  const auto shape = idx_detail::read_shape(reader);
  uint64_t total = 1;
  for (const auto side : shape) {
    total *= static_cast<uint64_t>(side);
    if (total > idx_detail::kMaxBytes) reader.fail("claims more than 16 GiB of data");
  }
  // Grows with what is really there, so that a lying header allocates nothing.
  std::vector<uint8_t> data;
  while (data.size() < total) {
    const size_t before = data.size(), wanted = std::min<uint64_t>(idx_detail::kChunk, total - before);
    data.resize(before + wanted);
    const size_t got = reader.read(data.data() + before, wanted);
    if (got < wanted) reader.fail("is cut short: holds " + std::to_string(before + got) + " of the " + std::to_string(total) + " bytes its header promises");
  }
  char extra;
  if (reader.read(&extra, 1) != 0) reader.fail("is longer than the " + std::to_string(total) + " bytes its header promises");
  const at::Tensor tensor = at::empty(shape, at::kByte);
  if (total > 0) std::memcpy(tensor.data_ptr<uint8_t>(), data.data(), total);
  return tensor;
}

std::vector<std::string> idx_splits(const std::filesystem::path& folder) {
  std::vector<std::string> found;
  for (const std::string split : {"train", "test"}) {
    if (!idx_detail::split_file(folder, split, "images-idx3").empty() && !idx_detail::split_file(folder, split, "labels-idx1").empty()) {
      found.push_back(split);
    }
  }
  return found;
}

bool is_idx_folder(const std::filesystem::path& folder) { return !idx_splits(folder).empty(); }

IdxSplit read_idx_split(const std::filesystem::path& folder, const std::string& split) {
  const auto images_file = idx_detail::split_file(folder, split, "images-idx3");
  const auto labels_file = idx_detail::split_file(folder, split, "labels-idx1");
  if (images_file.empty() || labels_file.empty()) {
    throw std::runtime_error(folder.string() + ": has no images and labels of split '" + split + "' (expected " +
                             (split == "train" ? "train" : "t10k") + "-images-idx3-ubyte.gz and the like)");
  }
  IdxSplit result{read_idx(images_file), read_idx(labels_file).to(at::kLong)};
  if (result.images.dim() != 3) throw std::runtime_error(images_file.string() + ": has " + std::to_string(result.images.dim()) + " axes; pictures need 3");
  if (result.labels.dim() != 1) throw std::runtime_error(labels_file.string() + ": has " + std::to_string(result.labels.dim()) + " axes; labels need 1");
  if (result.images.size(0) != result.labels.size(0)) {
    throw std::runtime_error(images_file.string() + ": holds " + std::to_string(result.images.size(0)) + " pictures but " +
                             labels_file.filename().string() + " " + std::to_string(result.labels.size(0)) + " labels");
  }
  if (result.images.numel() == 0) throw std::runtime_error(images_file.string() + ": holds no pictures");
  return result;
}

std::vector<std::string> idx_class_names(const std::filesystem::path& folder, int64_t classes) {
  const auto path = std::filesystem::absolute(folder).lexically_normal();
  std::string name = (path.has_filename() ? path : path.parent_path()).filename().string();  // "set/" ends in nothing
  std::erase_if(name, [](unsigned char c) { return !std::isalnum(c); });
  for (auto& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (name == "fashionmnist" && classes <= 10) {
    return {"T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"};
  }
  std::vector<std::string> digits;
  for (int64_t i = 0; i < std::max<int64_t>(classes, 10); ++i) digits.push_back(std::to_string(i));
  return digits;
}

}  // namespace zoo::data
