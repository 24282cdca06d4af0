#include <cmath>
#include <stdexcept>

#include "app/engine/generation.h"
#include "models/names.h"

namespace zoo::app {
namespace generation_options_detail {

[[noreturn]] void wrong(const std::string& key, const Json& value, const std::string& expected) {
  throw std::invalid_argument("generation option '" + key + "' is " + value.dump(-1, ' ', false, Json::error_handler_t::replace).substr(0, 80) + "; expected " + expected);
}

// What the command line gave is text; a file gave JSON.
Json parsed(const Json& value) {
  if (!value.is_string()) return value;
  Json read = Json::parse(value.get<std::string>(), nullptr, /*allow_exceptions=*/false);
  return read.is_discarded() ? value : read;
}

class Reader {
 public:
  Reader(const Json& from, GenerationOptions& to) : from_(from), o_(to) {}

  void read() {
    lengths();
    whole("num_beams", o_.num_beams, 1, 1024);
    whole("num_return_sequences", o_.num_return_sequences, 1, 1024);
    whole("no_repeat_ngram_size", o_.no_repeat_ngram_size, 0, 1 << 20);
    whole("encoder_no_repeat_ngram_size", o_.encoder_no_repeat_ngram_size, 0, 1 << 20);
    whole("top_k", o_.top_k, 0, int64_t{1} << 31);
    real("length_penalty", o_.length_penalty, -100, 100);
    real("repetition_penalty", o_.repetition_penalty, 1e-6, 1e6);
    real("temperature", o_.temperature, 1e-6, 1e6);
    real("top_p", o_.top_p, 0, 1);
    real("min_p", o_.min_p, 0, 1);
    real("typical_p", o_.typical_p, 1e-6, 1);
    if (const Json value = find("do_sample"); !value.is_null()) {
      if (!value.is_boolean()) wrong("do_sample", value, "true or false");
      o_.do_sample = value.get<bool>();
    }
    early_stopping();
    tokens();
  }

 private:
  Json find(const std::string& key) const {
    const auto found = from_.find(key);
    return found == from_.end() ? Json() : parsed(*found);
  }
  void whole(const std::string& key, int64_t& value, int64_t low, int64_t high) const {
    const Json found = find(key);
    if (found.is_null()) return;
    const std::string expected = "a whole number from " + std::to_string(low) + " to " + std::to_string(high);
    if (!found.is_number_integer() || found.get<double>() < double(low) || found.get<double>() > double(high)) wrong(key, found, expected);
    value = found.get<int64_t>();
  }
  void real(const std::string& key, double& value, double low, double high) const {
    const Json found = find(key);
    if (found.is_null()) return;
    if (!found.is_number() || !(found.get<double>() >= low && found.get<double>() <= high)) {
      wrong(key, found, "a number from " + Json(low).dump() + " to " + Json(high).dump());
    }
    value = found.get<double>();
  }
  // max_length and min_length count what the decoder begins with, here one start token; the newer keys take precedence.
  void lengths() {
    whole("max_length", o_.max_length, 1, 1 << 24);
    whole("min_length", o_.min_length, 0, 1 << 24);
    if (o_.max_length > 1) o_.max_new_tokens = o_.max_length - 1;
    if (o_.min_length > 0) o_.min_new_tokens = o_.min_length - 1;
    whole("max_new_tokens", o_.max_new_tokens, 1, 1 << 24);
    whole("min_new_tokens", o_.min_new_tokens, 0, 1 << 24);
    if (!find("max_new_tokens").is_null()) o_.max_length = 0;
    if (!find("min_new_tokens").is_null()) o_.min_length = 0;
  }
  void early_stopping() {
    const Json value = find("early_stopping");
    if (value.is_null()) return;
    if (value.is_boolean()) o_.early_stopping = value.get<bool>() ? BeamStop::yes : BeamStop::no;
    else if (value == "never") o_.early_stopping = BeamStop::never;
    else wrong("early_stopping", value, "true, false or \"never\"");
  }
  static std::vector<int64_t> list(const std::string& key, const Json& value) {
    if (value.is_null()) return {};
    const Json all = value.is_array() ? value : Json::array({value});
    std::vector<int64_t> ids;
    for (const Json& id : all) {
      if (!id.is_number_integer() || id.get<int64_t>() < 0) wrong(key, value, "ids of tokens");
      ids.push_back(id.get<int64_t>());
    }
    return ids;
  }
  void ids(const std::string& key, std::vector<int64_t>& into) const {
    if (from_.contains(key)) into = list(key, find(key));
  }
  void id(const std::string& key, int64_t& into) const {
    if (!from_.contains(key)) return;
    const auto found = list(key, find(key));
    into = found.empty() ? -1 : found.front();
  }
  void tokens() {
    id("decoder_start_token_id", o_.decoder_start);
    id("pad_token_id", o_.pad);
    id("forced_bos_token_id", o_.forced_bos);
    ids("eos_token_id", o_.eos);
    ids("forced_eos_token_id", o_.forced_eos);
    ids("suppress_tokens", o_.suppress_tokens);
    ids("begin_suppress_tokens", o_.begin_suppress_tokens);
    if (!from_.contains("bad_words_ids")) return;
    o_.bad_words.clear();
    const Json words = find("bad_words_ids");
    if (words.is_null()) return;
    if (!words.is_array()) wrong("bad_words_ids", words, "a list of lists of token ids");
    for (const Json& word : words) {
      if (!word.is_array() || word.empty()) wrong("bad_words_ids", words, "a list of lists of token ids");
      o_.bad_words.push_back(list("bad_words_ids", word));
    }
  }

  const Json& from_;
  GenerationOptions& o_;
};

}  // namespace generation_options_detail

const std::vector<std::string>& generation_keys() {
  static const std::vector<std::string> keys = {
      "max_new_tokens", "min_new_tokens", "max_length", "min_length", "num_beams", "num_return_sequences", "no_repeat_ngram_size",
      "encoder_no_repeat_ngram_size", "top_k", "length_penalty", "repetition_penalty", "temperature", "top_p", "min_p", "typical_p",
      "do_sample", "early_stopping", "decoder_start_token_id", "pad_token_id", "forced_bos_token_id", "eos_token_id",
      "forced_eos_token_id", "suppress_tokens", "begin_suppress_tokens", "bad_words_ids"};
  return keys;
}

GenerationOptions generation_options(const Json& config, const Json& stored, const Json& wanted) {
  namespace d = generation_options_detail;
  for (const auto& [key, value] : wanted.items()) {
    if (std::find(generation_keys().begin(), generation_keys().end(), key) == generation_keys().end()) {
      throw std::invalid_argument("unknown generation option '" + key.substr(0, 80) + "'; nearest: " + join(nearest(key, generation_keys())));
    }
  }
  GenerationOptions options;
  d::Reader(stored.is_object() && !stored.empty() ? stored : config, options).read();
  d::Reader(wanted, options).read();
  if (options.num_beams > 1 && options.num_return_sequences > options.num_beams) {
    throw std::invalid_argument("num_return_sequences is " + std::to_string(options.num_return_sequences) + "; expected at most num_beams, " + std::to_string(options.num_beams));
  }
  if (options.num_beams == 1 && !options.do_sample && options.num_return_sequences > 1) {
    throw std::invalid_argument("num_return_sequences is " + std::to_string(options.num_return_sequences) +
                                ", but greedy decoding gives one result (set num_beams or do_sample)");
  }
  if (options.min_new_tokens > options.max_new_tokens) {
    throw std::invalid_argument("min_new_tokens is " + std::to_string(options.min_new_tokens) + ", more than max_new_tokens " + std::to_string(options.max_new_tokens));
  }
  return options;
}

}  // namespace zoo::app
