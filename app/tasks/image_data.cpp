#include "app/tasks/image_data.h"

#include <ATen/Parallel.h>
#include <glob.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <iostream>
#include <numeric>

#include "app/cli.h"
#include "app/engine/graphed_forward.h"
#include "app/report/progress.h"
#include "app/tasks/text_batches.h"
#include "data/idx.h"
#include "data/image.h"
#include "data/image_folder.h"
#include "data/loader.h"
#include "models/names.h"

namespace zoo::app {
namespace image_detail {
namespace fs = std::filesystem;

// A side of an input's symbolic shape: digits, or a key of the config.
int64_t side_of(const std::string& symbol, const Json& config) {
  if (!symbol.empty() && symbol.find_first_not_of("0123456789") == std::string::npos) return std::stoll(symbol);
  const auto found = config.find(symbol);
  if (found == config.end()) return 0;
  const Json& value = found->is_array() && !found->empty() ? found->front() : *found;
  return value.is_number_integer() ? value.get<int64_t>() : 0;
}

// Network's class number for each of the data's. Empty: the data keeps its own numbering.
std::vector<int64_t> match_classes(const std::vector<std::string>& data, const std::vector<std::string>& network, bool may_define,
                                   const std::string& where) {
  if (data == network) return {};
  std::vector<int64_t> map;
  for (const auto& name : data) {
    const auto found = std::find(network.begin(), network.end(), name);
    if (found == network.end()) break;
    map.push_back(found - network.begin());
  }
  if (map.size() == data.size()) {
    bool same_order = true;
    for (size_t i = 0; i < map.size(); ++i) same_order = same_order && map[i] == static_cast<int64_t>(i);
    if (!same_order) spdlog::info("{}: classes are numbered as the network numbers them, matched by name", where);
    return map;
  }
  if (may_define) return {};
  const bool generic = !network.empty() && network.front() == "LABEL_0";
  if (generic && data.size() == network.size()) {
    spdlog::warn("{}: the network does not name its classes; they are taken in the data's order", where);
    return {};
  }
  const auto& unknown = data[map.size()];
  throw UsageError(where + ": class '" + unknown + "' is not one of the network's " + std::to_string(network.size()) + "; nearest: " +
                   join(nearest(unknown, network)));
}

// What IDX folders and picture folders have in common.
class ImageSet : public Dataset, public Pictures {
 public:
  ImageSet(const Bundle& bundle, const DataOptions& options)
      : transform_(image_transform(bundle)), levels_(transform_.levels()), options_(options),
        augmentation_(data::Augmentation::from_json(options.options.value("augment", Json::object()))) {}

  int64_t size() const override { return static_cast<int64_t>(targets_.size()); }
  std::vector<std::string> labels() const override { return labels_; }
  std::string split() const override { return split_; }

  Tensors get(std::span<const int64_t> indices, bool training, uint64_t seed) const override {
    const auto count = static_cast<int64_t>(indices.size());
    const at::Tensor labels = at::empty({count}, at::kLong);
    at::Tensor images;
    for (int64_t i = 0; i < count; ++i) {
      const at::Tensor picture = fitted(indices[i]);
      // Channels last in memory: no transposing here, and pooling and convolution are faster on CPUs.
      if (i == 0) images = at::empty({count, picture.size(2), picture.size(0), picture.size(1)}, at::kFloat, at::MemoryFormat::ChannelsLast);
      check_alike(picture, images, indices[i]);
      data::write_floats(picture, levels_, training ? augmentation_ : data::Augmentation{}, data::example_seed(seed, indices[i]),
                         images.data_ptr<float>() + i * picture.numel());
      labels.data_ptr<int64_t>()[i] = targets_[indices[i]];
    }
    return {{"image", images}, {"labels", labels}};
  }

 protected:
  virtual at::Tensor fitted(int64_t index) const = 0;  // [h, w, C] uint8, contiguous, through transform_.fit

  // Numbers the examples as the network does; limit and class names apply to what the data holds.
  void set_targets(std::vector<int64_t> labels, const std::vector<std::string>& classes, const Bundle& bundle, const std::string& where) {
    if (options_.limit > 0 && static_cast<int64_t>(labels.size()) > options_.limit) labels.resize(options_.limit);
    const auto map = match_classes(classes, bundle.labels, options_.training, where);
    labels_ = map.empty() ? classes : bundle.labels;
    for (auto& label : labels) targets_.push_back(map.empty() ? label : map[label]);
  }

  void choose_split(const std::vector<std::string>& known, const std::string& where) {
    split_ = options_.split;
    if (known.empty() && options_.training && split_ == "train") split_.clear();
    if (split_.empty()) {
      for (const char* natural : {"test", "validation", "train"}) {
        if (std::find(known.begin(), known.end(), natural) == known.end()) continue;
        split_ = natural;
        return;
      }
    } else if (std::find(known.begin(), known.end(), split_) == known.end()) {
      throw UsageError(where + ": has no split '" + split_.substr(0, 80) + "'; " +
                       (known.empty() ? "it has no splits at all (leave --split away)" : "it has " + join(known)));
    }
  }

  const data::ImageTransform transform_;
  const std::vector<std::array<float, 256>> levels_;
  const DataOptions options_;
  const data::Augmentation augmentation_;
  std::vector<int64_t> targets_;
  std::vector<std::string> labels_;
  std::string split_;

 private:
  void check_alike(const at::Tensor& picture, const at::Tensor& images, int64_t index) const {
    if (picture.size(0) == images.size(2) && picture.size(1) == images.size(3)) return;
    throw std::runtime_error(describe(index) + ": is " + std::to_string(picture.size(0)) + " x " + std::to_string(picture.size(1)) +
                             " pixels, others " + std::to_string(images.size(2)) + " x " + std::to_string(images.size(3)) +
                             " (preprocessor_config.json must resize to one size)");
  }
};

// The whole split in memory, fitted to the network once.
class IdxImages : public ImageSet {
 public:
  IdxImages(const fs::path& folder, const Bundle& bundle, const DataOptions& options) : ImageSet(bundle, options) {
    choose_split(data::idx_splits(folder), folder.string());
    const auto loaded = data::read_idx_split(folder, split_);
    const int64_t classes = loaded.labels.max().item<int64_t>() + 1;
    const auto* labels = loaded.labels.const_data_ptr<int64_t>();
    set_targets({labels, labels + loaded.labels.numel()}, data::idx_class_names(folder, classes), bundle, folder.string());
    originals_ = loaded.images.narrow(0, 0, size()).unsqueeze(-1);  // [N, H, W, 1]
    fit_all();
  }

  std::string describe(int64_t index) const override { return split_ + " " + std::to_string(index); }
  at::Tensor picture(int64_t index) const override { return originals_[index]; }

 protected:
  at::Tensor fitted(int64_t index) const override { return fitted_[index]; }

 private:
  at::Tensor as_channels(const at::Tensor& picture) const {
    return transform_.channels == 1 ? picture : picture.expand({-1, -1, transform_.channels}).contiguous();
  }
  void fit_all() {
    const at::Tensor first = transform_.fit(as_channels(originals_[0]));
    if (first.sizes() == originals_.sizes().slice(1)) {
      fitted_ = originals_;
      return;
    }
    fitted_ = at::empty({size(), first.size(0), first.size(1), first.size(2)}, at::kByte);
    at::parallel_for(0, size(), 64, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) fitted_[i].copy_(transform_.fit(as_channels(originals_[i])));
    });
  }
  at::Tensor originals_, fitted_;
};

class PictureFiles : public ImageSet {
 public:
  PictureFiles(const fs::path& folder, const Bundle& bundle, const DataOptions& options) : ImageSet(bundle, options) {
    choose_split(data::image_folder_splits(folder), folder.string());
    auto listed = data::list_image_folder(folder, split_);
    files_ = std::move(listed.files);
    if (options.options.value("skip_bad", false)) drop_bad(listed.labels);
    set_targets(std::move(listed.labels), listed.classes, bundle, folder.string());
    files_.resize(size());
  }

  std::string describe(int64_t index) const override { return files_[index].string(); }
  at::Tensor picture(int64_t index) const override { return data::read_image(files_[index], transform_.channels == 1 ? 1 : 3); }

 protected:
  at::Tensor fitted(int64_t index) const override { return transform_.fit(data::read_image(files_[index], transform_.channels)); }

 private:
  void drop_bad(std::vector<int64_t>& labels) {
    std::vector<std::string> errors(files_.size());
    at::parallel_for(0, static_cast<int64_t>(files_.size()), 8, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        try {
          data::read_image(files_[i], transform_.channels);
        } catch (const std::runtime_error& error) {
          errors[i] = error.what();
        }
      }
    });
    size_t kept = 0;
    for (size_t i = 0; i < files_.size(); ++i) {
      if (!errors[i].empty()) {
        spdlog::warn("skipped {}", errors[i]);
        continue;
      }
      files_[kept] = files_[i];
      labels[kept++] = labels[i];
    }
    if (kept == 0) throw std::runtime_error("none of the " + std::to_string(files_.size()) + " files is a picture");
    files_.resize(kept);
    labels.resize(kept);
  }
  std::vector<fs::path> files_;
};

void add_input(const std::string& input, std::vector<fs::path>& files) {
  if (input == "-") {
    for (std::string line; std::getline(std::cin, line);) {
      if (!line.empty()) files.emplace_back(line);
    }
    return;
  }
  if (fs::is_directory(input)) {
    std::vector<fs::path> found;
    for (const auto& entry : fs::recursive_directory_iterator(input)) {
      if (entry.is_regular_file() && data::is_image_name(entry.path())) found.push_back(entry.path());
    }
    std::sort(found.begin(), found.end());
    if (found.empty()) throw UsageError(input + ": the folder holds no pictures (.png, .jpg, .bmp, .webp, .tif, .ppm)");
    files.insert(files.end(), found.begin(), found.end());
    return;
  }
  if (!fs::exists(input) && input.find_first_of("*?[") != std::string::npos) {
    glob_t matches;
    const int failed = glob(input.c_str(), 0, nullptr, &matches);
    for (size_t i = 0; !failed && i < matches.gl_pathc; ++i) files.emplace_back(matches.gl_pathv[i]);
    globfree(&matches);
    if (failed) throw UsageError(input + ": matches no file");
    return;
  }
  if (!fs::exists(input)) throw UsageError(input + ": no such file");
  files.emplace_back(input);
}

}  // namespace image_detail

ImageShape image_shape(const Bundle& bundle) {
  for (const auto& input : bundle.entry->inputs(bundle.config)) {
    if (input.name != "image" || input.shape.size() != 4) continue;
    return {std::max<int64_t>(image_detail::side_of(input.shape[1], bundle.config), 1), image_detail::side_of(input.shape[2], bundle.config)};
  }
  throw UsageError(bundle.spec + ": the network takes no pictures");
}

data::ImageTransform image_transform(const Bundle& bundle) {
  const auto shape = image_shape(bundle);
  return data::ImageTransform::from_json(bundle.preprocessor, shape.size, shape.channels);
}

std::unique_ptr<Dataset> open_images(const std::filesystem::path& data, const Bundle& bundle, const DataOptions& options) {
  if (!std::filesystem::is_directory(data)) {
    throw UsageError(data.string() + ": no such folder (expected MNIST-like IDX files, or pictures as DIR/<class>/*.png)");
  }
  if (data::is_idx_folder(data)) return std::make_unique<image_detail::IdxImages>(data, bundle, options);
  return std::make_unique<image_detail::PictureFiles>(data, bundle, options);
}

std::vector<std::filesystem::path> image_inputs(const RunOptions& options) {
  if (!options.text.empty()) throw UsageError("--input is for texts; name picture files instead");
  std::vector<std::filesystem::path> files;
  for (const auto& input : options.inputs) image_detail::add_input(input, files);
  if (files.empty()) throw UsageError("no pictures given: name files, folders, patterns such as 'photos/*.jpg', or - for a list on standard input");
  return files;
}

void predict_images(Bundle& bundle, const std::vector<std::filesystem::path>& files, int64_t batch_size,
                    const std::function<void(const Tensors& outputs, size_t begin, size_t end)>& use) {
  const at::NoGradGuard no_grad;
  const auto transform = image_transform(bundle);
  const auto total = static_cast<int64_t>(files.size()), size = batch_size > 0 ? batch_size : 32;
  const auto make = [&](int64_t number) -> Tensors {
    std::vector<at::Tensor> images;
    for (int64_t i = number * size; i < std::min(total, (number + 1) * size); ++i) {
      images.push_back(transform(data::read_image(files[i], transform.channels)));
      if (images.back().sizes() != images.front().sizes()) {
        throw std::runtime_error(files[i].string() + ": differs in size from the others (use --batch-size 1, or let preprocessor_config.json resize)");
      }
    }
    return {{"image", at::stack(images).contiguous(at::MemoryFormat::ChannelsLast)}};
  };
  data::Loader loader((total + size - 1) / size, make, total > size ? 1 : 0);
  std::optional<Progress> progress;
  if (total > size) progress.emplace("pictures", total, "pictures");
  bundle.model->eval();
  GraphedForward forward(*bundle.model);
  for (int64_t number = 0; const auto batch = loader.next(); ++number) {
    const auto end = std::min(total, (number + 1) * size);
    use(forward(to_device(*batch, bundle.device)), number * size, end);
    if (progress) progress->add(end - number * size);
  }
}

}  // namespace zoo::app
