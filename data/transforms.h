// From a picture to a network's input, as a checkpoint's preprocessor_config.json describes it (the fields of Hugging
// Face's ViTImageProcessor, and of ConvNextImageProcessor, which resizes by crop_pct): resize, centre crop, rescale, normalise.
#pragma once
#include <ATen/ATen.h>

#include <array>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <vector>

namespace zoo::data {

enum class Filter { nearest = 0, bilinear = 2, bicubic = 3 };  // Pillow's numbers

// Pillow 11's antialiased resampling, bit for bit (same filters, same 22-bit fixed-point weights, the width first, 8-bit
// intermediate): [H, W, C] uint8 -> [height, width, C] uint8. Pillow 13 may take the height first, and rounds differently then.
at::Tensor resize(const at::Tensor& picture, int64_t height, int64_t width, Filter filter);

// Cuts [height, width] out of the middle; what lies outside the picture is black. [H, W, C] uint8.
at::Tensor center_crop(const at::Tensor& picture, int64_t height, int64_t width);

struct ImageTransform {
  using Json = nlohmann::ordered_json;

  int64_t channels = 3;
  bool do_resize = true, do_center_crop = false, do_rescale = true, do_normalize = true;
  int64_t height = 0, width = 0;    // of the resize; shortest_edge != 0 replaces them
  int64_t shortest_edge = 0;
  int64_t crop_height = 0, crop_width = 0;
  Filter filter = Filter::bilinear;
  double rescale_factor = 1.0 / 255.0;
  std::vector<double> mean, std;    // one per channel

  // `image_size` and `channels` are the network's: they fill what the JSON leaves open. Means and deviations given for
  // another number of channels are averaged. Throws std::invalid_argument for wrong types, values out of range, and keys
  // that would change the picture in a way not implemented here.
  static ImageTransform from_json(const Json& preprocessor, int64_t image_size, int64_t channels);
  Json to_json() const;  // complete: reading it back gives the same transform whatever the network's size

  // The geometry alone: [H, W, C] uint8 -> [h, w, C] uint8.
  at::Tensor fit(const at::Tensor& picture) const;
  // Value of each of the 256 levels after rescaling and normalising: [channels][256].
  std::vector<std::array<float, 256>> levels() const;
  // fit() and levels(): [H, W, C] uint8 -> [C, h, w] float32, a view of memory in the order h, w, C.
  at::Tensor operator()(const at::Tensor& picture) const;
};

// Changes made to training pictures, after fit(): each is drawn anew for every (seed, example).
struct Augmentation {
  int64_t pad_crop = 0;  // random shift by up to so many pixels, black where nothing comes in
  bool flip = false;     // mirror left and right with probability 1/2
  int64_t erase = 0;     // a black square of up to so many pixels a side, with probability 1/2

  // Throws std::invalid_argument for unknown keys and wrong types.
  static Augmentation from_json(const nlohmann::ordered_json& json);
};

// Writes one picture [h, w, C] uint8 as floats in the same order to `out`, changed by `augmentation` with random numbers
// that depend on `seed` alone.
void write_floats(const at::Tensor& picture, const std::vector<std::array<float, 256>>& levels, const Augmentation& augmentation,
                  uint64_t seed, float* out);

// A well-mixed seed for one example of one epoch.
uint64_t example_seed(uint64_t seed, uint64_t index);

}  // namespace zoo::data
