// Byte-level BPE and SentencePiece tokenizers on every line of the text and code data, ids, offsets and decoded text
// against the reference (tests/reference/tokenizer_files.py). Needs the data ($ZOO_DATA or ../shared/data).
#include <zlib.h>

#include <algorithm>

#include "tests/catch.h"
#include "tests/unit/tokenizers_support.h"
#include "tokenizers/utf8.h"

namespace tokenizer_files {

namespace fs = std::filesystem;

fs::path data_folder() {
  const char* value = std::getenv("ZOO_DATA");
  return value && *value ? fs::path(value) : fs::path(ZOO_TEST_DIR) / "../../shared/data";
}

/// Plain or gzip: zlib reads both.
std::string read_file(const fs::path& path) {
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

std::vector<std::string_view> lines_of(std::string_view text) {
  if (text.ends_with('\n')) text.remove_suffix(1);
  std::vector<std::string_view> lines;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find('\n', begin), text.size());
    lines.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return lines;
}

/// The megabyte without a space that the script makes by the same rule.
std::string long_line() {
  const std::u32string alphabet = U"abcdefghijklmnopqrstuvwxyzABCDEFGHIJ0123456789_.,;(){}\u00e9\u00fc\u00df\u6f22\u5b57\U0001F600";
  std::string out;
  uint64_t x = 1;
  for (int i = 0; i < 1 << 20; ++i) {
    x = (x * 1103515245 + 12345) & 0x7FFFFFFF;
    zoo::tokenizers::append_utf8(out, alphabet[(x >> 16) % alphabet.size()]);
  }
  return out;
}

/// For each byte of the line the number of characters before it.
std::vector<uint32_t> characters_before(std::string_view line) {
  std::vector<uint32_t> out(line.size() + 1);
  uint32_t count = 0;
  for (size_t i = 0; i < line.size();) {
    const size_t bytes = zoo::tokenizers::decode_char(line, i).bytes;
    for (size_t k = 0; k < bytes; ++k) out[i + k] = count;
    ++count;
    i += bytes;
  }
  out[line.size()] = count;
  return out;
}

uLong add_line(uLong sum, const zoo::tokenizers::Tokenizer& tokenizer, std::string_view line) {
  const auto encoding = tokenizer.encode(line);
  const auto places = characters_before(line);
  std::vector<uint32_t> numbers(encoding.ids.begin(), encoding.ids.end());
  for (const auto& [begin, end] : encoding.offsets) numbers.push_back(places.at(begin)), numbers.push_back(places.at(end));
  if (!numbers.empty())  // zlib takes a null pointer as a wish to start anew
    sum = crc32(sum, reinterpret_cast<const Bytef*>(numbers.data()), static_cast<uInt>(numbers.size() * 4));
  const std::string text = tokenizer.decode(encoding.ids, true);
  return crc32(sum, reinterpret_cast<const Bytef*>(text.data()), static_cast<uInt>(text.size()));
}

void check_file(const zoo::tokenizers::Tokenizer& tokenizer, const std::string& text, const nlohmann::json& sums, size_t block) {
  const auto lines = lines_of(text);
  REQUIRE(sums.size() == (lines.size() + block - 1) / block);
  for (size_t b = 0; b < sums.size(); ++b) {
    uLong sum = 0;
    const size_t end = std::min(lines.size(), (b + 1) * block);
    for (size_t i = b * block; i < end; ++i) sum = add_line(sum, tokenizer, lines[i]);
    INFO("lines " << b * block + 1 << " to " << end << " (tests/reference/tokenizer_files.py --show prints those that differ)");
    CHECK(sum == sums[b].get<uLong>());
  }
}

}  // namespace tokenizer_files

TEST_CASE("byte-level and SentencePiece tokenizers equal the reference on every line of the data", "[tokenizers][data]") {
  namespace files = tokenizer_files;
  NEEDS(files::fs::is_directory(files::data_folder() / "tokenizers"), (files::data_folder() / "tokenizers").string() << " (or $ZOO_DATA/tokenizers)");
  const auto expected = tokenizer_tests::read_fixture("files.json");
  const auto block = expected.at("block").get<size_t>();
  for (const auto& entry : expected.at("tokenizers")) {
    tokenizer_tests::TemporaryFolder folder;
    for (const auto& [name, source] : entry.at("files").items())
      files::fs::copy_file(files::data_folder() / source.get<std::string>(), folder.path / name);
    if (!entry.at("config").empty()) folder.write("tokenizer_config.json", entry.at("config").dump());
    const auto tokenizer = zoo::tokenizers::load(folder.path);
    for (const auto& [name, sums] : entry.at("sums").items()) {
      INFO(entry.at("name").get<std::string>() << ": " << name);
      const auto text = name == "long line" ? files::long_line()
                        : name == "torture" ? files::read_file(files::fs::path(ZOO_TEST_DIR) / "fixtures/tokenizers/torture.txt")
                                            : files::read_file(files::data_folder() / name);
      files::check_file(*tokenizer, text, sums, block);
    }
  }
}
