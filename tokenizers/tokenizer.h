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

/// How a text, or a pair of texts, that is too long is cut.
struct Truncation {
  enum class Strategy { longest_first, only_first, only_second };
  size_t max_length = 512;  // tokens, special ones included
  Strategy strategy = Strategy::longest_first;
  size_t stride = 0;  // tokens that one window repeats of the window before it
  bool left = false;  // tokens go on the left
};

/// How the encodings of a batch are made equally long.
struct Padding {
  std::optional<size_t> length;  // empty: the longest of the batch
  size_t multiple_of = 0;        // lengths are rounded up to it; 0: as they are
  int64_t id = 0, type_id = 0;
  bool left = false;
};

/// Padding tokens count as special, belong to no word and stand for no text.
void pad(std::vector<Encoding>& batch, const Padding& padding);

/// Immutable once loaded: every method may be called from several threads at once.
class Tokenizer {
 public:
  virtual ~Tokenizer();

  /// `text` is UTF-8; each malformed sequence counts as one U+FFFD (Python's errors="replace").
  /// `max_length` counts the special tokens too; 0 = no limit. A text too long loses tokens on the right
  /// (the left, if the files say so), of a pair the longer one first; special tokens stay. Throws std::invalid_argument when max_length leaves
  /// no room for them.
  virtual Encoding encode(std::string_view text, std::optional<std::string_view> pair = std::nullopt,
                          size_t max_length = 0) const = 0;
  /// Without the special tokens.
  virtual Encoding encode_bare(std::string_view text) const = 0;
  /// The whole text in windows of at most max_length tokens, special ones included: cut as `truncation` says, and what
  /// the cut left over in further windows (question answering over long contexts). A pair that longest_first has to
  /// cut gives its first window only. Throws std::invalid_argument when a window has no room for more than the stride,
  /// or when only_first / only_second cannot make the pair short enough.
  virtual std::vector<Encoding> encode_windows(std::string_view text, std::optional<std::string_view> pair,
                                               const Truncation& truncation) const = 0;
  /// Ids that are not in the vocabulary are passed over, as the reference does.
  virtual std::string decode(const std::vector<int64_t>& ids, bool skip_special = true) const = 0;

  virtual std::optional<int64_t> token_to_id(std::string_view token) const = 0;
  /// Throws std::out_of_range for an id without a token.
  virtual std::string id_to_token(int64_t id) const = 0;
  /// Number of distinct tokens, added ones included.
  virtual int64_t vocab_size() const = 0;

  virtual std::optional<int64_t> pad_id() const = 0;
  virtual std::optional<int64_t> bos_id() const = 0;
  virtual std::optional<int64_t> eos_id() const = 0;
  virtual std::optional<int64_t> unk_id() const = 0;
  virtual std::optional<int64_t> cls_id() const = 0;
  virtual std::optional<int64_t> sep_id() const = 0;
  virtual std::optional<int64_t> mask_id() const = 0;
  /// `model_max_length` of tokenizer_config.json, special tokens included; the largest size_t when the files
  /// set no limit.
  virtual size_t model_max_length() const = 0;
  /// How the files want texts cut and padded; empty: they do not say. encode() follows the side of the truncation alone.
  virtual const std::optional<Truncation>& saved_truncation() const = 0;
  virtual const std::optional<Padding>& saved_padding() const = 0;
};

/// Reads the tokenizer of a checkpoint folder: tokenizer.json, else vocab.json with merges.txt, else a SentencePiece
/// model (spiece.model, sentencepiece.bpe.model, tokenizer.model), else vocab.txt; with tokenizer_config.json and
/// special_tokens_map.json beside it. Or reads the one file given. Throws std::runtime_error that names the file and
/// what is wrong in it, or all files looked for.
std::unique_ptr<Tokenizer> load(const std::filesystem::path& folder_or_file);

/// Names of the files that make up a tokenizer, so that a trained checkpoint can carry them along.
std::vector<std::string> tokenizer_files();

}  // namespace zoo::tokenizers
