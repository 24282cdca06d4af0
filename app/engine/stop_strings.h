// StopStrings: texts that end generation as soon as a token completes one of them (transformers' StopStringCriteria).
#pragma once
#include <string>
#include <unordered_map>
#include <vector>

#include "tokenizers/tokenizer.h"

namespace zoo::app {

class StopStrings {
 public:
  // `tokenizer` must outlive this. Throws std::invalid_argument for an empty text.
  StopStrings(std::vector<std::string> texts, const tokenizers::Tokenizer& tokenizer);
  // Whether one of the texts ends inside `token`, the last of a sequence whose earlier tokens are `before`. A text that ended
  // earlier does not count: it would have ended the sequence then. Bytes are compared, so characters may be split between tokens.
  bool completed(const std::vector<int64_t>& before, int64_t token);

 private:
  const std::string& piece(int64_t id);  // what a token adds to a text
  std::vector<std::string> texts_;
  const tokenizers::Tokenizer& tokenizer_;
  std::vector<int64_t> base_;  // ids of a text that tokens are appended to
  std::string base_text_;
  size_t longest_ = 0;         // bytes of the texts
  std::unordered_map<int64_t, std::string> pieces_;
};

}  // namespace zoo::app
