// Texts to network inputs, shared by all text tasks: tokenise on all threads, sort by length, batch by a budget of padded
// tokens, pad.
#pragma once
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "app/bundle.h"
#include "app/tasks/task.h"

namespace zoo::data {
struct Table;
}

namespace zoo::app {

// The bundle's tokenizer. Throws std::runtime_error that says which folder has none and which files are looked for.
const tokenizers::Tokenizer& tokenizer_of(const Bundle& bundle);

// The most tokens of one text, special tokens included: option "max_length" if given, else the tokenizer's
// model_max_length, never more than the network's max_position_embeddings. Throws UsageError for an option that is not
// a whole number in 3 .. that bound.
int64_t text_limit(const Bundle& bundle, const Json& options);

// Encodes texts on all threads. `pairs` is empty or as long as `texts`. Texts beyond `max_length` tokens are cut.
std::vector<tokenizers::Encoding> encode_texts(const tokenizers::Tokenizer& tokenizer, std::span<const std::string> texts,
                                               std::span<const std::string> pairs, int64_t max_length);

// Inputs of a network on the CPU: tokens [B, T]; token_types [B, T] only when some are not 0; mask [B, T] (true = keep)
// only when the lengths differ, because attention without a mask is faster. Padding stands on the right.
Tensors pad_encodings(std::span<const tokenizers::Encoding> encodings, int64_t pad_id);
Tensors pad_encodings(std::span<const tokenizers::Encoding* const> encodings, int64_t pad_id);

// Texts, each with its second text, as the bundle's network reads them: in one sequence, apart (an input "pair_tokens"), or in a
// pattern with prompts (prompt_pattern.h).
struct EncodedTexts {
  std::vector<tokenizers::Encoding> texts, pairs;  // pairs: empty unless they are read apart
  std::vector<std::vector<bool>> prompts;          // by text and token: places of learned prompts; empty unless the network has them
  int64_t cut = 0;                                 // texts that lost tokens to the limit

  int64_t size() const { return static_cast<int64_t>(texts.size()); }
  int64_t length(int64_t index) const;  // in tokens, of both
};
bool reads_pairs_apart(const Bundle& bundle);
class PromptPattern;
class TextEncoder {
 public:
  TextEncoder(const Bundle& bundle, int64_t max_length);  // refers to the bundle's tokenizer, not to the bundle
  // As encode_for(); `tell`: whether lost tokens are told.
  EncodedTexts encode(std::span<const std::string> texts, std::span<const std::string> pairs, bool tell) const;

 private:
  EncodedTexts in_pattern(std::span<const std::string> texts, std::span<const std::string> pairs, bool tell) const;
  std::string spec_;
  const tokenizers::Tokenizer& tokenizer_;
  int64_t max_length_;
  bool apart_;
  std::shared_ptr<const PromptPattern> pattern_;
};
// `pairs` is empty or as long as `texts`. Texts that lose tokens to the limit are told on the log. Throws UsageError when the network
// compares two texts and there is one.
EncodedTexts encode_for(const Bundle& bundle, std::span<const std::string> texts, std::span<const std::string> pairs, int64_t max_length);
// tokens, mask and token_types as pad_encodings() gives them; of pairs read apart also pair_tokens and pair_mask, of
// texts in a pattern prompt_places.
Tensors pad_texts(const EncodedTexts& encoded, std::span<const int64_t> indices, int64_t pad_id);
Tensors pad_texts(const EncodedTexts& encoded, int64_t pad_id);  // all of them

// The id that fills padding: the tokenizer's, else the config's "pad_token_id", else 0 (padding is masked anyway).
int64_t pad_id_of(const Bundle& bundle);

// How large a batch may be.
struct BatchBudget {
  int64_t rows = 64;       // at most so many examples
  int64_t tokens = 8192;   // at most so many tokens after padding; one longer text alone is a batch
  bool equal_lengths = false;  // only texts of one length together: no padding, no mask
};
// Index lists that cover 0 .. lengths.size()-1 once each, longest texts first, so that memory peaks at once and the
// estimate of the time left errs on the safe side. Ties keep their order.
std::vector<std::vector<int64_t>> batches_by_length(std::span<const int64_t> lengths, const BatchBudget& budget);

// Texts of these lengths through the network without gradients: `compute` gives a batch's outputs on the CPU, called from several threads at
// once where the bundle has workers; `take` gets them, one batch at a time and in no certain order. On a CPU small batches of one length
// stay in the cache and need no mask, and padding would be computed, too; on a GPU they are as large as `on_gpu`. `rows`, if not 0: examples in a batch.
void for_each_batch(const Bundle& bundle, std::span<const int64_t> lengths, int64_t rows,
                    const std::function<Tensors(std::span<const int64_t> batch)>& compute,
                    const std::function<void(std::span<const int64_t> batch, const Tensors& outputs)>& take, const BatchBudget& on_gpu = {});

// What a `zoo run` without inputs is told.
constexpr const char* kNoTexts = "no texts: give --input \"a sentence\" or --input FILE, files (.txt, .csv, .tsv, .jsonl), a folder of .txt, or - for standard input";

// One text to predict on and where it came from: "a.txt:3", "argument", "standard input:1", "rows.csv:7".
struct TextInput {
  std::string text, source;
  std::string pair = {}, id = {};  // a second text, and a name of its own, where the task has them
  std::string trouble = {};        // what is odd about it, for a warning
};
// Whether --input names a file that is there; else it is a text. Throws UsageError for what reads like the name of a file and is none:
// one word that ends in .txt, .csv, .tsv or .jsonl.
bool names_file(const std::string& input);
// All texts of a `zoo run`: --input (a text, or as if it were an input), then every input: a .txt file (or "-") gives one text per non-empty line; .csv,
// .tsv and .jsonl give option "column" (default: a column named text or sentence, else the only one); a folder gives
// its .txt files in name order. Throws UsageError when there are none, std::runtime_error for files that cannot be read.
std::vector<TextInput> read_text_inputs(const RunOptions& options);
// Which column of a table those are. Throws UsageError that lists the columns.
size_t text_column(const data::Table& table, const Json& options);

// A document's text to `path` (temporary name, then rename). Throws UsageError when it is there and `overwrite` is false.
void write_output(const std::filesystem::path& path, std::string_view text, bool overwrite);
// The check alone, to be made before the work starts.
void refuse_existing(const std::filesystem::path& path, bool overwrite);

// Batch to the device; "mask" and friends included.
Tensors to_device(const Tensors& batch, at::Device device);

}  // namespace zoo::app
