// The one interface every tokenizer implements: text in, token ids out, and back.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace zoo::tokenizers {

/// One encoded text, or pair of texts. The five vectors have the same length.
struct Encoding {
  std::vector<int64_t> ids;
  std::vector<int64_t> type_ids;  // 0 for the first text, 1 for the second
  std::vector<bool> special;      // put there by the post-processor ([CLS], [SEP])
  std::vector<std::pair<size_t, size_t>>
      offsets;                    // [begin, end) in bytes of its own input text; special {0, 0}
  std::vector<int64_t> word_ids;  // word of its own text, from 0; special -1
};

/// Immutable once loaded: every method may be called from several threads at once.
class Tokenizer {
 public:
  virtual ~Tokenizer();

  /// `text` is UTF-8; each malformed sequence counts as one U+FFFD (Python's errors="replace").
  /// `max_length` counts the special tokens too; 0 = no limit. A text too long loses tokens on the right, of
  /// a pair the longer one first; special tokens stay. Throws std::invalid_argument when max_length leaves
  /// no room for them.
  virtual Encoding encode(std::string_view text, std::optional<std::string_view> pair = std::nullopt,
                          size_t max_length = 0) const = 0;
  /// Ids that are not in the vocabulary are passed over, as the reference does.
  virtual std::string decode(const std::vector<int64_t>& ids, bool skip_special = true) const = 0;

  virtual std::optional<int64_t> token_to_id(std::string_view token) const = 0;
  /// Throws std::out_of_range for an id without a token.
  virtual std::string id_to_token(int64_t id) const = 0;
  /// Number of distinct tokens, added ones included.
  virtual int64_t vocab_size() const = 0;

  virtual std::optional<int64_t> pad_id() const = 0;
  virtual std::optional<int64_t> unk_id() const = 0;
  virtual std::optional<int64_t> cls_id() const = 0;
  virtual std::optional<int64_t> sep_id() const = 0;
  virtual std::optional<int64_t> mask_id() const = 0;
  /// `model_max_length` of tokenizer_config.json, special tokens included; the largest size_t when the files
  /// set no limit.
  virtual size_t model_max_length() const = 0;
};

/// Reads the tokenizer of a checkpoint folder (tokenizer.json, else vocab.txt; with tokenizer_config.json
/// and special_tokens_map.json beside it), or the given tokenizer.json or vocab.txt. Throws
/// std::runtime_error that names the file and what is wrong in it, or all files looked for.
std::unique_ptr<Tokenizer> load(const std::filesystem::path& folder_or_file);

/// Names of the files that make up a tokenizer, so that a trained checkpoint can carry them along.
std::vector<std::string> tokenizer_files();

}  // namespace zoo::tokenizers
