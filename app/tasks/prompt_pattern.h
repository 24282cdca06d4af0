// Texts put into a pattern of words, learned prompts and a mask, for networks that classify by what stands behind the mask.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "app/bundle.h"

namespace zoo::app {

// A pattern is a list of texts: "{text}" and "{pair}" are the example's, "{prompt}" is a place for a learned prompt, "{mask}" the mask
// token, and every other one stands for itself.
class PromptPattern {
 public:
  // Of config.json ("pattern"), for a network with an input prompt_places; throws std::invalid_argument for a pattern without exactly one
  // mask, without a text or with another number of prompts than the network has.
  explicit PromptPattern(const Bundle& bundle);
  static bool wanted_by(const Bundle& bundle);
  bool has_pair() const { return has_pair_; }

  struct Encoded {
    tokenizers::Encoding encoding;
    std::vector<bool> prompts;  // by token
    bool cut = false;           // tokens were lost to the limit
  };
  // Between the tokenizer's special tokens for one text. Texts too long lose tokens at their end, the pair before the text
  // (data_utils/task_pvps.py). Safe from several threads.
  Encoded encode(const std::string& text, const std::string& pair, size_t max_length) const;

 private:
  enum class Kind { text, pair, prompt, mask, words };
  struct Part {
    Kind kind;
    std::vector<int64_t> ids;  // of words
  };
  const tokenizers::Tokenizer& tokenizer_;
  std::vector<Part> parts_;
  std::vector<int64_t> before_, after_;  // special tokens around a text
  bool has_pair_ = false;
};

}  // namespace zoo::app
