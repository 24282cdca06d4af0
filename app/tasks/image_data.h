// Pictures as a dataset, shared by the image tasks: MNIST-like IDX folders and folders of picture files.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "app/tasks/task.h"
#include "data/transforms.h"

namespace zoo::app {

// The network's own view of its input, from its registry entry.
struct ImageShape {
  int64_t channels = 3, size = 0;  // size 0: any
};
ImageShape image_shape(const Bundle& bundle);

// From picture to input as the bundle's preprocessor says, with the network's size and channels where it is silent.
data::ImageTransform image_transform(const Bundle& bundle);

// Datasets whose examples are pictures show them to reports.
class Pictures {
 public:
  virtual ~Pictures() = default;
  virtual at::Tensor picture(int64_t index) const = 0;  // [H, W, C] uint8, as in the data
};

// Opens DIR. Without a split: "test" if there is one, else "validation", else everything. Batches hold "image"
// [B, C, H, W] float32 and "labels" [B] int64, numbered by the bundle's class names; with options.training, data whose
// classes the bundle does not know keeps its own numbering. Options: "augment" (used by training batches), "skip_bad"
// (leave out files that are not pictures, and say which).
std::unique_ptr<Dataset> open_images(const std::filesystem::path& data, const Bundle& bundle, const DataOptions& options);

// The picture files that `zoo run` was given: files, folders (searched below), globs, "-" for one path per line of
// standard input. Throws UsageError when there are none.
std::vector<std::filesystem::path> image_inputs(const RunOptions& options);

// Runs the network over files in batches. `use` gets each batch's outputs and its range of `files`.
void predict_images(Bundle& bundle, const std::vector<std::filesystem::path>& files, int64_t batch_size,
                    const std::function<void(const Tensors& outputs, size_t begin, size_t end)>& use);

}  // namespace zoo::app
