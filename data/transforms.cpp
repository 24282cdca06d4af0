#include "data/transforms.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

namespace zoo::data {
namespace transform_detail {

// --- Pillow's resampling: separable, with the filter widened by the scale when shrinking -------------------------------

constexpr int kPrecisionBits = 32 - 8 - 2;

double filter_support(Filter filter) { return filter == Filter::bicubic ? 2.0 : 1.0; }

double filter_value(Filter filter, double x) {
  x = std::abs(x);
  if (filter == Filter::bilinear) return x < 1.0 ? 1.0 - x : 0.0;
  constexpr double a = -0.5;  // Keys, 1981
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0;
  if (x < 2.0) return (((x - 5.0) * x + 8.0) * x - 4.0) * a;
  return 0.0;
}

// For every output position: where its window of the input begins, and the fixed-point weights.
struct Windows {
  std::vector<int64_t> begin;
  std::vector<std::vector<int32_t>> weights;
};

Windows windows(int64_t in, int64_t out, Filter filter) {
  const double scale = static_cast<double>(in) / static_cast<double>(out), widened = std::max(scale, 1.0);
  const double support = filter_support(filter) * widened;
  Windows result;
  for (int64_t i = 0; i < out; ++i) {
    const double center = (static_cast<double>(i) + 0.5) * scale;
    const auto low = std::max<int64_t>(static_cast<int64_t>(center - support + 0.5), 0);
    const auto high = std::min<int64_t>(static_cast<int64_t>(center + support + 0.5), in);
    std::vector<double> values;
    double sum = 0.0;
    for (int64_t x = low; x < high; ++x) {
      values.push_back(filter_value(filter, (static_cast<double>(x) - center + 0.5) / widened));
      sum += values.back();
    }
    std::vector<int32_t> fixed;
    for (double value : values) {
      if (sum != 0.0) value /= sum;
      fixed.push_back(static_cast<int32_t>(std::trunc((value < 0 ? -0.5 : 0.5) + value * (1 << kPrecisionBits))));
    }
    result.begin.push_back(low);
    result.weights.push_back(std::move(fixed));
  }
  return result;
}

uint8_t to_level(int64_t fixed) { return static_cast<uint8_t>(std::clamp<int64_t>(fixed >> kPrecisionBits, 0, 255)); }

// Resamples the middle axis of [outer, in, inner].
at::Tensor resample_axis(const at::Tensor& source, int64_t outer, int64_t in, int64_t inner, int64_t out, Filter filter) {
  const Windows window = windows(in, out, filter);
  const at::Tensor result = at::empty({outer, out, inner}, at::kByte);
  const auto* from = source.data_ptr<uint8_t>();
  auto* to = result.data_ptr<uint8_t>();
  std::vector<int64_t> sums(inner);
  for (int64_t o = 0; o < outer; ++o) {
    for (int64_t i = 0; i < out; ++i, to += inner) {
      std::fill(sums.begin(), sums.end(), int64_t{1} << (kPrecisionBits - 1));
      const uint8_t* row = from + (o * in + window.begin[i]) * inner;
      for (const int32_t weight : window.weights[i]) {
        for (int64_t c = 0; c < inner; ++c) sums[c] += int64_t{weight} * row[c];
        row += inner;
      }
      for (int64_t c = 0; c < inner; ++c) to[c] = to_level(sums[c]);
    }
  }
  return result;
}

at::Tensor resize_nearest(const at::Tensor& picture, int64_t height, int64_t width) {
  const auto positions = [](int64_t in, int64_t out) {
    std::vector<int64_t> chosen;
    for (int64_t i = 0; i < out; ++i) {
      chosen.push_back(std::min<int64_t>(in - 1, static_cast<int64_t>((static_cast<double>(i) + 0.5) * static_cast<double>(in) / static_cast<double>(out))));
    }
    return at::tensor(chosen, at::kLong);
  };
  return picture.index_select(0, positions(picture.size(0), height)).index_select(1, positions(picture.size(1), width));
}

void check_picture(const at::Tensor& picture) {
  TORCH_CHECK_VALUE(picture.dim() == 3 && picture.scalar_type() == at::kByte && picture.numel() > 0,
                    "expected a picture [H, W, C] of uint8, got ", picture.sizes(), " of ", picture.scalar_type());
}

// --- preprocessor_config.json --------------------------------------------------------------------------------------------

using Json = nlohmann::ordered_json;

[[noreturn]] void wrong(const std::string& key, const Json& seen, const std::string& expected) {
  throw std::invalid_argument("preprocessor_config.json: " + key + " is " + seen.dump().substr(0, 80) + "; expected " + expected);
}

const Json* find(const Json& json, const char* key) {
  const auto found = json.find(key);
  return found == json.end() || found->is_null() ? nullptr : &*found;
}

void read_flag(const Json& json, const char* key, bool& value) {
  const Json* found = find(json, key);
  if (!found) return;
  if (!found->is_boolean()) wrong(key, *found, "true or false");
  value = found->get<bool>();
}

int64_t read_side(const Json& value, const std::string& key) {
  if (!value.is_number_integer() || value.get<double>() < 1 || value.get<double>() > 65536) wrong(key, value, "a whole number of pixels from 1 to 65536");
  return value.get<int64_t>();
}

// A number means a square; {"height", "width"} or {"shortest_edge"} say more. A list is [height, width].
void read_size(const Json& json, const char* key, int64_t& height, int64_t& width, int64_t* shortest_edge) {
  const Json* found = find(json, key);
  if (!found) return;
  if (found->is_number()) {
    height = width = read_side(*found, key);
  } else if (found->is_array() && found->size() == 2) {
    height = read_side((*found)[0], key), width = read_side((*found)[1], key);
  } else if (found->is_object() && found->contains("height") && found->contains("width") && found->size() == 2) {
    height = read_side(found->at("height"), key), width = read_side(found->at("width"), key);
  } else if (shortest_edge && found->is_object() && found->contains("shortest_edge") && found->size() == 1) {
    *shortest_edge = read_side(found->at("shortest_edge"), key);
  } else {
    wrong(key, *found, shortest_edge ? R"(a number, {"height", "width"} or {"shortest_edge"})" : R"(a number or {"height", "width"})");
  }
}

double read_number(const Json& value, const std::string& key) {
  if (!value.is_number() || !std::isfinite(value.get<double>())) wrong(key, value, "a number");
  return value.get<double>();
}

std::vector<double> read_per_channel(const Json& json, const char* key, double fallback, int64_t channels) {
  const Json* found = find(json, key);
  if (!found) return std::vector<double>(channels, fallback);
  std::vector<double> values;
  if (found->is_number()) values.assign(channels, read_number(*found, key));
  else if (found->is_array() && !found->empty() && found->size() <= 16) for (const auto& value : *found) values.push_back(read_number(value, key));
  else wrong(key, *found, "one number per channel");
  if (static_cast<int64_t>(values.size()) == channels) return values;
  double sum = 0.0;
  for (const double value : values) sum += value;
  return std::vector<double>(channels, sum / static_cast<double>(values.size()));
}

// ConvNextImageProcessor (ConvNeXt, ResNet), under any of the names it has had, or what has no name but its crop_pct.
bool is_convnext(const Json& json) {
  for (const char* key : {"image_processor_type", "feature_extractor_type"}) {
    if (const Json* found = find(json, key)) return found->is_string() && found->get<std::string>().starts_with("ConvNext");
  }
  return find(json, "crop_pct") != nullptr;
}

// Its one size s below 384 means: the shorter side to s / crop_pct, and the middle s x s of that; from 384 on a square without a crop.
void apply_convnext(const Json& json, ImageTransform& t) {
  const int64_t side = t.shortest_edge ? t.shortest_edge : t.height;
  if (t.height != t.width) wrong("size", json.at("size"), R"(a number or {"shortest_edge"}, as ConvNextImageProcessor has it)");
  double share = 224.0 / 256.0;
  if (const Json* found = find(json, "crop_pct")) share = read_number(*found, "crop_pct");
  if (share < 0.01 || share > 1.0) wrong("crop_pct", json.at("crop_pct"), "a number from 0.01 to 1");
  t.shortest_edge = 0;
  t.height = t.width = side;
  if (side >= 384 || side == 0 || !t.do_resize) return;
  t.shortest_edge = static_cast<int64_t>(static_cast<double>(side) / share);
  t.do_center_crop = true;
  t.crop_height = t.crop_width = side;
}

void refuse_unknown_steps(const Json& json) {
  for (const char* key : {"do_pad", "do_thumbnail", "do_align_long_axis", "do_convert_annotations", "do_flip_channel_order", "do_reduce_labels"}) {
    const Json* found = find(json, key);
    if (found && *found != Json(false)) wrong(key, *found, "false: zoo does not implement this step");
  }
  const Json* crop = find(json, "crop_pct");
  if (crop && !is_convnext(json) && *crop != Json(1.0) && *crop != Json(1)) wrong("crop_pct", *crop, "none: zoo implements this step for ConvNextImageProcessor alone");
}

uint64_t mix(uint64_t x) {  // splitmix64
  x += 0x9E3779B97F4A7C15u;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

// Small whole numbers from one seed.
struct Draw {
  uint64_t state;
  int64_t below(int64_t count) { return static_cast<int64_t>((state = mix(state)) % static_cast<uint64_t>(count)); }
};

}  // namespace transform_detail

at::Tensor resize(const at::Tensor& picture, int64_t height, int64_t width, Filter filter) {
  namespace d = transform_detail;
  d::check_picture(picture);
  TORCH_CHECK_VALUE(height >= 1 && width >= 1, "resize: wanted size is ", height, " x ", width, "; both must be at least 1");
  const int64_t in_height = picture.size(0), in_width = picture.size(1), channels = picture.size(2);
  if (in_height == height && in_width == width) return picture;
  if (filter == Filter::nearest) return d::resize_nearest(picture, height, width);
  at::Tensor current = picture.contiguous();
  if (in_width != width) current = d::resample_axis(current, in_height, in_width, channels, width, filter);
  if (in_height != height) current = d::resample_axis(current, 1, in_height, width * channels, height, filter);
  return current.view({height, width, channels});
}

at::Tensor center_crop(const at::Tensor& picture, int64_t height, int64_t width) {
  transform_detail::check_picture(picture);
  const auto offset = [](int64_t from, int64_t to) {  // of the crop's first line in the picture; negative: black before
    return from >= to ? (from - to) / 2 : -((to - from + 1) / 2);
  };
  const int64_t top = offset(picture.size(0), height), left = offset(picture.size(1), width);
  if (top >= 0 && left >= 0) return picture.narrow(0, top, height).narrow(1, left, width).contiguous();
  const at::Tensor result = at::zeros({height, width, picture.size(2)}, at::kByte);
  const int64_t rows = std::min(height, picture.size(0)), columns = std::min(width, picture.size(1));
  result.narrow(0, std::max<int64_t>(-top, 0), rows).narrow(1, std::max<int64_t>(-left, 0), columns)
      .copy_(picture.narrow(0, std::max<int64_t>(top, 0), rows).narrow(1, std::max<int64_t>(left, 0), columns));
  return result;
}

ImageTransform ImageTransform::from_json(const Json& given, int64_t image_size, int64_t channels) {
  namespace d = transform_detail;
  const Json json = given.is_null() ? Json::object() : given;
  if (!json.is_object()) d::wrong("the whole", json, "an object");
  d::refuse_unknown_steps(json);
  ImageTransform t;
  t.channels = channels;
  t.height = t.width = image_size;
  d::read_flag(json, "do_resize", t.do_resize);
  d::read_size(json, "size", t.height, t.width, &t.shortest_edge);
  d::read_flag(json, "do_center_crop", t.do_center_crop);
  t.crop_height = t.crop_width = image_size;
  d::read_size(json, "crop_size", t.crop_height, t.crop_width, nullptr);
  if (d::is_convnext(json)) d::apply_convnext(json, t);
  if (const Json* found = d::find(json, "resample")) {
    if (*found == Json(0)) t.filter = Filter::nearest;
    else if (*found == Json(2)) t.filter = Filter::bilinear;
    else if (*found == Json(3)) t.filter = Filter::bicubic;
    else d::wrong("resample", *found, "0 (nearest), 2 (bilinear) or 3 (bicubic)");
  }
  d::read_flag(json, "do_rescale", t.do_rescale);
  if (const Json* found = d::find(json, "rescale_factor")) t.rescale_factor = d::read_number(*found, "rescale_factor");
  d::read_flag(json, "do_normalize", t.do_normalize);
  t.mean = d::read_per_channel(json, "image_mean", 0.5, channels);
  t.std = d::read_per_channel(json, "image_std", 0.5, channels);
  for (const double value : t.std) {
    if (value <= 0.0) d::wrong("image_std", json.at("image_std"), "numbers above zero");
  }
  if (t.do_resize && t.shortest_edge == 0 && t.height == 0) {
    throw std::invalid_argument("preprocessor_config.json: gives no size, and the network's config has no image size either");
  }
  return t;
}

ImageTransform::Json ImageTransform::to_json() const {
  Json json = {{"image_processor_type", "ViTImageProcessor"}, {"do_resize", do_resize}};
  if (shortest_edge) json["size"] = {{"shortest_edge", shortest_edge}};
  else json["size"] = {{"height", height}, {"width", width}};
  json["resample"] = static_cast<int>(filter);
  if (do_center_crop) {
    json["do_center_crop"] = true;
    json["crop_size"] = {{"height", crop_height}, {"width", crop_width}};
  }
  json["do_rescale"] = do_rescale;
  json["rescale_factor"] = rescale_factor;
  json["do_normalize"] = do_normalize;
  json["image_mean"] = mean;
  json["image_std"] = std;
  return json;
}

at::Tensor ImageTransform::fit(const at::Tensor& picture) const {
  at::Tensor current = picture;
  if (do_resize) {
    int64_t to_height = height, to_width = width;
    if (shortest_edge) {
      const int64_t from_height = picture.size(0), from_width = picture.size(1);
      // The longer side is cut to whole pixels, as the reference does.
      if (from_height <= from_width) to_height = shortest_edge, to_width = shortest_edge * from_width / from_height;
      else to_width = shortest_edge, to_height = shortest_edge * from_height / from_width;
      TORCH_CHECK_VALUE(to_height <= 65536 && to_width <= 65536, "a picture of ", from_height, " x ", from_width,
                        " pixels is too long and thin to be resized to a shortest edge of ", shortest_edge);
    }
    current = resize(current, to_height, to_width, filter);
  }
  if (do_center_crop) current = center_crop(current, crop_height, crop_width);
  return current.contiguous();
}

std::vector<std::array<float, 256>> ImageTransform::levels() const {
  std::vector<std::array<float, 256>> tables(channels);
  for (int64_t c = 0; c < channels; ++c) {
    for (int level = 0; level < 256; ++level) {
      double value = do_rescale ? level * rescale_factor : level;
      if (do_normalize) value = (value - mean[c]) / std[c];
      tables[c][level] = static_cast<float>(value);
    }
  }
  return tables;
}

at::Tensor ImageTransform::operator()(const at::Tensor& picture) const {
  const at::Tensor fitted = fit(picture);
  TORCH_CHECK_VALUE(fitted.size(2) == channels, "picture has ", fitted.size(2), " channels; the network wants ", channels);
  const at::Tensor result = at::empty({fitted.size(0), fitted.size(1), channels}, at::kFloat);
  write_floats(fitted, levels(), {}, 0, result.data_ptr<float>());
  return result.permute({2, 0, 1});
}

Augmentation Augmentation::from_json(const nlohmann::ordered_json& json) {
  Augmentation result;
  if (json.is_null()) return result;
  if (!json.is_object()) throw std::invalid_argument("augment is " + json.dump().substr(0, 80) + R"(; expected an object such as {"pad_crop": 2, "flip": true})");
  const auto pixels = [](const auto& key, const auto& value) {
    if (!value.is_number_integer() || value.template get<double>() < 0 || value.template get<double>() > 4096) {
      throw std::invalid_argument("augment." + key + " is " + value.dump().substr(0, 80) + "; expected a number of pixels from 0 to 4096");
    }
    return value.template get<int64_t>();
  };
  for (const auto& [key, value] : json.items()) {
    if (key == "pad_crop") result.pad_crop = pixels(key, value);
    else if (key == "erase") result.erase = pixels(key, value);
    else if (key == "flip" && value.is_boolean()) result.flip = value.template get<bool>();
    else if (key == "flip") throw std::invalid_argument("augment.flip is " + value.dump().substr(0, 80) + "; expected true or false");
    else throw std::invalid_argument("augment: unknown key '" + key.substr(0, 80) + "'; known: pad_crop, flip, erase");
  }
  return result;
}

void write_floats(const at::Tensor& picture, const std::vector<std::array<float, 256>>& levels, const Augmentation& augmentation,
                  uint64_t seed, float* out) {
  const int64_t height = picture.size(0), width = picture.size(1), channels = picture.size(2);
  const auto* in = picture.data_ptr<uint8_t>();
  transform_detail::Draw draw{seed};
  const int64_t pad = augmentation.pad_crop;
  const int64_t down = pad ? draw.below(2 * pad + 1) - pad : 0, right = pad ? draw.below(2 * pad + 1) - pad : 0;
  const bool mirrored = augmentation.flip && draw.below(2) == 1;
  int64_t side = 0, hole_top = 0, hole_left = 0;
  if (augmentation.erase && draw.below(2) == 1) {
    side = 1 + draw.below(augmentation.erase);
    hole_top = draw.below(height) - side / 2, hole_left = draw.below(width) - side / 2;
  }
  for (int64_t y = 0; y < height; ++y) {
    const int64_t from_y = y + down;
    for (int64_t x = 0; x < width; ++x) {
      const int64_t from_x = (mirrored ? width - 1 - x : x) + right;
      const bool black = from_y < 0 || from_y >= height || from_x < 0 || from_x >= width ||
                         (y >= hole_top && y < hole_top + side && x >= hole_left && x < hole_left + side);
      const uint8_t* pixel = in + (from_y * width + from_x) * channels;
      for (int64_t c = 0; c < channels; ++c) *out++ = levels[c][black ? 0 : pixel[c]];
    }
  }
}

uint64_t example_seed(uint64_t seed, uint64_t index) {
  return transform_detail::mix(transform_detail::mix(seed) ^ (index * 0xD1342543DE82EF95u + 1));
}

}  // namespace zoo::data
