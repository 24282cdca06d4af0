// IDX files, the format of MNIST and its successors (yann.lecun.com/exdb/mnist), gzipped or not: two zero bytes, the
// element type (8 = unsigned byte, the only one read), the number of axes, big-endian axis lengths, the data.
#pragma once
#include <ATen/ATen.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace zoo::data {

// Throws std::runtime_error naming the file when it is cut short, longer than it says, or not of this format.
at::Tensor read_idx(const std::filesystem::path& path);

// One split of an MNIST-like folder: {train,t10k}-{images-idx3,labels-idx1}-ubyte[.gz].
struct IdxSplit {
  at::Tensor images;  // [N, H, W] uint8
  at::Tensor labels;  // [N] int64
};

bool is_idx_folder(const std::filesystem::path& folder);
// "train", "test": those whose both files are there.
std::vector<std::string> idx_splits(const std::filesystem::path& folder);
// Throws std::runtime_error also when the two files disagree on the number of examples.
IdxSplit read_idx_split(const std::filesystem::path& folder, const std::string& split);
// The published names when the folder is called fashion-mnist (or fashion_mnist, FashionMNIST, ...), else "0", "1", ...
std::vector<std::string> idx_class_names(const std::filesystem::path& folder, int64_t classes);

}  // namespace zoo::data
