// Every line of the real text data through the vocabulary of all-MiniLM-L6-v2
// (tests/reference/wordpiece_lines.py). Needs the data ($ZOO_DATA or ../shared/data) and the checkpoint
// ($ZOO_MINILM, or the cache folder that set-up fills).
#include <zlib.h>

#include <sstream>

#include "tests/catch.h"
#include "tests/unit/tokenizers_support.h"

namespace tokenizer_lines {

namespace fs = std::filesystem;

fs::path from_environment(const char* variable, const fs::path& fallback) {
  const char* value = std::getenv(variable);
  return value && *value ? fs::path(value) : fallback;
}

fs::path minilm_folder() {
  const fs::path cache =
      from_environment("XDG_CACHE_HOME", from_environment("HOME", "/nonexistent") / ".cache");
  return from_environment("ZOO_MINILM", cache / "zoo/minilm");
}

fs::path text_folder() {
  return from_environment("ZOO_DATA", fs::path(ZOO_TEST_DIR) / "../../shared/data") / "text";
}

/// Plain or gzip: zlib reads both.
std::string read_all(const fs::path& path) {
  gzFile file = gzopen(path.c_str(), "rb");
  if (!file) throw std::runtime_error(path.string() + ": cannot be opened");
  std::string text;
  char buffer[1 << 16];
  int count = 0;
  while ((count = gzread(file, buffer, sizeof buffer)) > 0) text.append(buffer, static_cast<size_t>(count));
  gzclose(file);
  if (count < 0) throw std::runtime_error(path.string() + ": cannot be read");
  return text;
}

struct Summary {
  size_t lines = 0, tokens = 0;
  uint64_t hash = 0xCBF29CE484222325ULL;

  void add(const std::vector<int64_t>& ids) {
    ++lines;
    tokens += ids.size();
    for (const int64_t id : ids) {
      for (int shift = 0; shift < 32; shift += 8)
        hash = (hash ^ (static_cast<uint64_t>(id) >> shift & 0xFF)) * 0x100000001B3ULL;
    }
  }
};

Summary summarize(const zoo::tokenizers::Tokenizer& tokenizer, const std::string& text) {
  Summary summary;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    summary.add(tokenizer.encode(std::string_view(text).substr(begin, end - begin)).ids);
    begin = end + 1;
  }
  return summary;
}

void check_files(const zoo::tokenizers::Tokenizer& tokenizer, const nlohmann::json& expected) {
  for (const auto& [name, file] : expected.items()) {
    INFO(name);
    const auto got = summarize(tokenizer, read_all(text_folder() / name));
    CHECK(got.lines == file.at("lines").get<size_t>());
    CHECK(got.tokens == file.at("tokens").get<size_t>());
    CHECK(got.hash == std::stoull(file.at("hash").get<std::string>(), nullptr, 16));
  }
}

}  // namespace tokenizer_lines

TEST_CASE("every line of the text data has the reference's ids", "[tokenizers][data]") {
  namespace lines = tokenizer_lines;
  const auto model = lines::minilm_folder();
  NEEDS(lines::fs::exists(model / "vocab.txt") && lines::fs::is_directory(lines::text_folder()),
        (model / "vocab.txt").string() << " (or $ZOO_MINILM) and " << lines::text_folder().string() << " (or $ZOO_DATA/text)");
  const auto expected = tokenizer_tests::read_fixture("wordpiece_lines.json");
  const auto vocab = lines::read_all(model / "vocab.txt");
  for (const std::string variant : {"uncased", "cased"}) {
    INFO("vocab.txt, " << variant);
    tokenizer_tests::TemporaryFolder folder;
    folder.write("vocab.txt", vocab);
    folder.write("tokenizer_config.json", variant == "cased" ? "{\"do_lower_case\": false}" : "{}");
    lines::check_files(*zoo::tokenizers::load(folder.path), expected.at(variant));
  }
  INFO("tokenizer.json, uncased");
  lines::check_files(*zoo::tokenizers::load(model / "tokenizer.json"), expected.at("uncased"));
}
