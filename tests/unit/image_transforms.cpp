// data/transforms.h against Pillow's values and small cases worked out by hand.
#include "data/transforms.h"

#include <cmath>
#include <fstream>
#include <set>

#include "tests/catch.h"

namespace image_transforms_tests {
using namespace zoo::data;
using Json = nlohmann::ordered_json;

// The same picture as tests/reference/resize.py makes.
at::Tensor picture(int64_t height, int64_t width, int64_t channels) {
  const at::Tensor made = at::empty({height, width, channels}, at::kByte);
  auto* out = made.data_ptr<uint8_t>();
  for (int64_t y = 0; y < height; ++y) {
    for (int64_t x = 0; x < width; ++x) {
      for (int64_t c = 0; c < channels; ++c) {
        const int64_t value = (x * 37 + y * 91 + c * 53 + x * y * 7) % 256;
        *out++ = static_cast<uint8_t>((x / 3 + y / 2) % 3 == 0 ? 255 - value / 8 : value);
      }
    }
  }
  return made;
}

at::Tensor bytes(std::vector<int64_t> values, std::vector<int64_t> shape) { return at::tensor(values, at::kLong).to(at::kByte).view(shape); }

TEST_CASE("resizing equals Pillow 11, bit for bit", "[data][transforms]") {
  const Json golden = Json::parse(std::ifstream(ZOO_TEST_DIR "/unit/pillow_resize.json"));
  REQUIRE(golden.at("cases").size() == 12);
  for (const auto& item : golden.at("cases")) {
    const auto from = item.at("from").get<std::vector<int64_t>>(), to = item.at("to").get<std::vector<int64_t>>();
    INFO(item.at("from").dump() << " to " << item.at("to").dump() << ", resample " << item.at("resample").dump());
    const at::Tensor expected = bytes(item.at("pixels").get<std::vector<int64_t>>(), {to[0], to[1], from[2]});
    const at::Tensor resized = resize(picture(from[0], from[1], from[2]), to[0], to[1], static_cast<Filter>(item.at("resample").get<int>()));
    REQUIRE(resized.sizes() == expected.sizes());
    CHECK(at::equal(resized, expected));
  }
}

TEST_CASE("resizing to the nearest pixel takes pixels as they are", "[data][transforms]") {
  const at::Tensor row = bytes({10, 20, 30, 40}, {1, 4, 1});
  CHECK(at::equal(resize(row, 1, 2, Filter::nearest), bytes({20, 40}, {1, 2, 1})));
  CHECK(at::equal(resize(row, 1, 8, Filter::nearest), bytes({10, 10, 20, 20, 30, 30, 40, 40}, {1, 8, 1})));
}

TEST_CASE("a centre crop cuts the middle and pads with black", "[data][transforms]") {
  const at::Tensor square = bytes({1, 2, 3, 4, 5, 6, 7, 8, 9}, {3, 3, 1});
  CHECK(at::equal(center_crop(square, 1, 1), bytes({5}, {1, 1, 1})));
  CHECK(at::equal(center_crop(square, 1, 3), bytes({4, 5, 6}, {1, 3, 1})));
  CHECK(at::equal(center_crop(square, 5, 1), bytes({0, 2, 5, 8, 0}, {5, 1, 1})));
}

TEST_CASE("a transform follows preprocessor_config.json", "[data][transforms]") {
  const auto size_after = [](const Json& json, int64_t height, int64_t width) {
    const auto transform = ImageTransform::from_json(json, 32, 3);
    const auto result = transform(picture(height, width, 3));
    return std::vector<int64_t>{result.size(0), result.size(1), result.size(2)};
  };
  using Sizes = std::vector<int64_t>;
  CHECK(size_after(Json::object(), 20, 50) == Sizes{3, 32, 32});  // the network's size
  CHECK(size_after({{"size", 24}}, 20, 50) == Sizes{3, 24, 24});
  CHECK(size_after({{"size", {{"height", 8}, {"width", 12}}}}, 20, 50) == Sizes{3, 8, 12});
  CHECK(size_after({{"size", {{"shortest_edge", 16}}}}, 20, 50) == Sizes{3, 16, 40});
  CHECK(size_after({{"size", {{"shortest_edge", 16}}}, {"do_center_crop", true}, {"crop_size", 12}}, 50, 21) == Sizes{3, 12, 12});
  CHECK(size_after({{"do_resize", false}}, 20, 50) == Sizes{3, 20, 50});

  const auto transform = ImageTransform::from_json({{"image_mean", {0.5, 0.25, 0.0}}, {"image_std", {0.5, 0.25, 1.0}}}, 1, 3);
  const at::Tensor pixel = transform(bytes({255, 0, 51}, {1, 1, 3}));
  CHECK(pixel[0].item<float>() == Approx(1.0));
  CHECK(pixel[1].item<float>() == Approx(-1.0));
  CHECK(pixel[2].item<float>() == Approx(0.2));
  const auto raw = ImageTransform::from_json({{"do_rescale", false}, {"do_normalize", false}}, 1, 1);
  CHECK(raw(bytes({77}, {1, 1, 1})).item<float>() == 77.0f);
}

TEST_CASE("crop_pct means what ConvNextImageProcessor makes of it", "[data][transforms]") {
  const auto read = [](const Json& json) { return ImageTransform::from_json(json, 0, 3); };
  const Json published = {{"crop_pct", 0.875}, {"feature_extractor_type", "ConvNextFeatureExtractor"}, {"resample", 3}, {"size", 224}};
  const auto transform = read(published);
  CHECK(transform.shortest_edge == 256);
  CHECK(transform.do_center_crop);
  CHECK(transform.crop_height == 224);
  const at::Tensor wide = picture(300, 411, 3);
  CHECK(at::equal(transform.fit(wide), center_crop(resize(wide, 256, 256 * 411 / 300, Filter::bicubic), 224, 224)));
  CHECK(read(transform.to_json()).to_json() == transform.to_json());

  CHECK(read({{"image_processor_type", "ConvNextImageProcessorFast"}, {"size", {{"shortest_edge", 224}}}}).shortest_edge == 256);  // its usual share
  const auto large = read({{"image_processor_type", "ConvNextImageProcessor"}, {"crop_pct", 0.875}, {"size", {{"shortest_edge", 384}}}});
  CHECK(at::equal(large.fit(wide), resize(wide, 384, 384, Filter::bilinear)));  // from 384 on: no crop
  CHECK_THROWS_WITH(read({{"crop_pct", 1.5}, {"size", 224}}), ContainsSubstring("crop_pct is 1.5"));
  CHECK_THROWS_WITH(read({{"image_processor_type", "PoolFormerImageProcessor"}, {"crop_pct", 0.9}, {"size", 224}}), ContainsSubstring("ConvNextImageProcessor alone"));
}

TEST_CASE("figures for three channels serve a grey network by their mean, and writing is complete", "[data][transforms]") {
  const auto grey = ImageTransform::from_json({{"image_mean", {0.2, 0.4, 0.6}}, {"image_std", {0.1, 0.2, 0.3}}, {"resample", 3}}, 28, 1);
  REQUIRE(grey.mean.size() == 1);
  CHECK(grey.mean[0] == Approx(0.4));
  CHECK(grey.std[0] == Approx(0.2));
  const auto again = ImageTransform::from_json(grey.to_json(), /*another network's size*/ 99, 1);
  CHECK(again.height == 28);
  CHECK(again.filter == Filter::bicubic);
  CHECK(again.to_json() == grey.to_json());
}

TEST_CASE("a preprocessor_config.json that cannot be followed is refused by key and value", "[data][transforms]") {
  const auto message = [](const Json& json) -> std::string {
    try {
      ImageTransform::from_json(json, 32, 3);
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "";
  };
  CHECK(message({{"size", -3}}).find("size is -3; expected a whole number of pixels") != std::string::npos);
  CHECK(message({{"size", {{"longest_edge", 30}}}}).find("shortest_edge") != std::string::npos);
  CHECK(message({{"resample", 5}}).find("bicubic") != std::string::npos);
  CHECK(message({{"image_std", {0.5, 0.0, 0.5}}}).find("above zero") != std::string::npos);
  CHECK(message({{"do_resize", "yes"}}).find("true or false") != std::string::npos);
  CHECK(message({{"do_pad", true}}).find("does not implement") != std::string::npos);
  CHECK(message(Json::array()).find("an object") != std::string::npos);
}

std::vector<float> augmented(const at::Tensor& picture, const Augmentation& augmentation, uint64_t seed) {
  std::vector<std::array<float, 256>> levels(1);
  for (int i = 0; i < 256; ++i) levels[0][i] = static_cast<float>(i);
  std::vector<float> out(picture.numel());
  write_floats(picture, levels, augmentation, seed, out.data());
  return out;
}

TEST_CASE("augmentation mirrors, shifts and erases as its seed says", "[data][transforms]") {
  const at::Tensor row = bytes({1, 2, 3}, {1, 3, 1});
  std::set<std::vector<float>> flips, shifts;
  for (uint64_t seed = 0; seed < 64; ++seed) {
    flips.insert(augmented(row, {0, true, 0}, seed));
    shifts.insert(augmented(row, {1, false, 0}, seed));
    CHECK(augmented(row, {1, true, 2}, seed) == augmented(row, {1, true, 2}, seed));
  }
  CHECK(flips == std::set<std::vector<float>>{{1, 2, 3}, {3, 2, 1}});
  CHECK(shifts == std::set<std::vector<float>>{{1, 2, 3}, {0, 1, 2}, {2, 3, 0}, {0, 0, 0}});
  CHECK(augmented(row, {}, 5) == std::vector<float>{1, 2, 3});
  CHECK(example_seed(1, 2) != example_seed(1, 3));
  CHECK(example_seed(1, 2) != example_seed(2, 2));
}

TEST_CASE("augmentation keys are read strictly", "[data][transforms]") {
  CHECK(Augmentation::from_json({{"pad_crop", 4}, {"flip", true}}).pad_crop == 4);
  CHECK_THROWS_AS(Augmentation::from_json({{"padcrop", 4}}), std::invalid_argument);
  CHECK_THROWS_AS(Augmentation::from_json({{"pad_crop", -1}}), std::invalid_argument);
  CHECK_THROWS_AS(Augmentation::from_json({{"flip", 1}}), std::invalid_argument);
}

}  // namespace image_transforms_tests
