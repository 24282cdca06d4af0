#include "app/tasks/prompt_pattern.h"

#include <algorithm>

#include "app/tasks/text_batches.h"

namespace zoo::app {
namespace prompt_pattern_detail {

// As a word inside a sentence: a blank before it.
std::vector<int64_t> ids_of(const tokenizers::Tokenizer& tokenizer, const std::string& text) {
  return tokenizer.encode_bare(text.empty() || text.front() == ' ' ? text : " " + text).ids;
}

[[noreturn]] void wrong(const Bundle& bundle, const std::string& what) {
  throw std::invalid_argument(bundle.spec + ": config key 'pattern' " + what +
                              "; expected a list such as [\"{prompt}\", \"{text}\", \"{prompt}\", \"{pair}\", \"{mask}\"], with prompt_length prompts");
}

}  // namespace prompt_pattern_detail

bool PromptPattern::wanted_by(const Bundle& bundle) {
  if (!bundle.entry) return false;
  const auto specs = bundle.entry->inputs(bundle.config);
  return std::any_of(specs.begin(), specs.end(), [](const InputSpec& spec) { return spec.name == "prompt_places"; });
}

PromptPattern::PromptPattern(const Bundle& bundle) : tokenizer_(tokenizer_of(bundle)) {
  namespace d = prompt_pattern_detail;
  const auto pattern = bundle.config.find("pattern");
  if (pattern == bundle.config.end() || !pattern->is_array()) d::wrong(bundle, "is missing or no list");
  for (const auto& part : *pattern) {
    if (!part.is_string()) d::wrong(bundle, "has " + part.dump().substr(0, 80));
    const auto text = part.get<std::string>();
    const Kind kind = text == "{text}" ? Kind::text : text == "{pair}" ? Kind::pair : text == "{prompt}" ? Kind::prompt : text == "{mask}" ? Kind::mask : Kind::words;
    parts_.push_back({kind, kind == Kind::words ? d::ids_of(tokenizer_, text) : std::vector<int64_t>()});
  }
  const auto count = [&](Kind kind) { return std::count_if(parts_.begin(), parts_.end(), [&](const Part& part) { return part.kind == kind; }); };
  if (count(Kind::text) != 1) d::wrong(bundle, "has " + std::to_string(count(Kind::text)) + " times {text}");
  if (count(Kind::mask) != 1) d::wrong(bundle, "has " + std::to_string(count(Kind::mask)) + " times {mask}");
  if (count(Kind::pair) > 1) d::wrong(bundle, "has {pair} more than once");
  const auto prompts = bundle.config.value("prompt_length", int64_t{10});
  if (count(Kind::prompt) != prompts) d::wrong(bundle, "has " + std::to_string(count(Kind::prompt)) + " times {prompt}, and prompt_length is " + std::to_string(prompts));
  has_pair_ = count(Kind::pair) == 1;
  if (!tokenizer_.mask_id()) throw std::invalid_argument(bundle.spec + ": its tokenizer has no mask token");
  const auto frame = tokenizer_.encode("x");  // the special tokens around it
  bool inside = false;
  for (size_t t = 0; t < frame.ids.size(); ++t) {
    inside = inside || !frame.special[t];
    if (frame.special[t]) (inside ? after_ : before_).push_back(frame.ids[t]);
  }
}

PromptPattern::Encoded PromptPattern::encode(const std::string& text, const std::string& pair, size_t max_length) const {
  namespace d = prompt_pattern_detail;
  std::vector<int64_t> texts[2] = {d::ids_of(tokenizer_, text), has_pair_ ? d::ids_of(tokenizer_, pair) : std::vector<int64_t>()};
  size_t fixed = before_.size() + after_.size();
  for (const Part& part : parts_) fixed += part.kind == Kind::words ? part.ids.size() : part.kind == Kind::prompt || part.kind == Kind::mask ? 1 : 0;
  if (fixed > max_length) throw std::invalid_argument("the pattern alone has " + std::to_string(fixed) + " tokens; at most " + std::to_string(max_length) + " fit (option max_length)");
  Encoded result;
  for (int which = 1; which >= 0; --which) {
    const size_t room = max_length - fixed, other = which == 1 ? std::min(texts[0].size(), room) : 0;
    const size_t most = which == 1 ? room - other : room - texts[1].size();
    if (texts[which].size() <= most) continue;
    texts[which].resize(most);
    result.cut = true;
  }
  const auto add = [&](int64_t id, bool special, bool prompt) {
    result.encoding.ids.push_back(id);
    result.encoding.special.push_back(special);
    result.prompts.push_back(prompt);
  };
  for (const int64_t id : before_) add(id, true, false);
  for (const Part& part : parts_) {
    // The network puts its prompt there; the mask's id would be taken for the mask, any other will do.
    if (part.kind == Kind::prompt) add(before_.empty() ? 0 : before_.front(), false, true);
    else if (part.kind == Kind::mask) add(*tokenizer_.mask_id(), false, false);
    else for (const int64_t id : part.kind == Kind::words ? part.ids : texts[part.kind == Kind::pair]) add(id, false, false);
  }
  for (const int64_t id : after_) add(id, true, false);
  result.encoding.type_ids.assign(result.encoding.ids.size(), 0);
  return result;
}

}  // namespace zoo::app
