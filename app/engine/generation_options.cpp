#include <algorithm>
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
    whole("num_beam_groups", o_.num_beam_groups, 1, 1024);
    whole("num_return_sequences", o_.num_return_sequences, 1, 1024);
    whole("no_repeat_ngram_size", o_.no_repeat_ngram_size, 0, 1 << 20);
    whole("encoder_no_repeat_ngram_size", o_.encoder_no_repeat_ngram_size, 0, 1 << 20);
    whole("top_k", o_.top_k, 0, int64_t{1} << 31);
    reals();
    flag("do_sample", o_.do_sample);
    flag("renormalize_logits", o_.renormalize_logits);
    flag("remove_invalid_values", o_.remove_invalid_values);
    early_stopping();
    decay();
    tokens();
    bad_words();
    biases();
    stop_strings();
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
  void reals() {
    real("length_penalty", o_.length_penalty, -100, 100);
    real("repetition_penalty", o_.repetition_penalty, 1e-6, 1e6);
    real("encoder_repetition_penalty", o_.encoder_repetition_penalty, 1e-6, 1e6);
    real("diversity_penalty", o_.diversity_penalty, 0, 1e6);
    real("temperature", o_.temperature, 1e-6, 1e6);
    real("top_p", o_.top_p, 0, 1);
    real("min_p", o_.min_p, 0, 1);
    real("typical_p", o_.typical_p, 1e-6, 1);
    real("top_h", o_.top_h, 0, 1);
    real("epsilon_cutoff", o_.epsilon_cutoff, 0, 1);
    real("eta_cutoff", o_.eta_cutoff, 0, 1);
  }
  void flag(const std::string& key, bool& value) const {
    const Json found = find(key);
    if (found.is_null()) return;
    if (!found.is_boolean()) wrong(key, found, "true or false");
    value = found.get<bool>();
  }
  void decay() {
    const Json value = find("exponential_decay_length_penalty");
    if (value.is_null()) return;
    const bool fits = value.is_array() && value.size() == 2 && value[0].is_number_integer() && value[0].get<double>() >= 0 && value[0].get<double>() < 1 << 24 &&
                      value[1].is_number() && value[1].get<double>() > 0;
    if (!fits) wrong("exponential_decay_length_penalty", value, "[new tokens, factor], such as [20, 1.05]");
    o_.decay_start = value[0].get<int64_t>();
    o_.decay_factor = value[1].get<double>();
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
  }
  void bad_words() {
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
  void biases() {
    if (!from_.contains("sequence_bias")) return;
    o_.sequence_bias.clear();
    const Json biases = find("sequence_bias");
    if (biases.is_null()) return;
    const std::string expected = "a list of [[token ids], bias], such as [[[14, 20], -10.0]]";
    if (!biases.is_array()) wrong("sequence_bias", biases, expected);
    for (const Json& one : biases) {
      if (!one.is_array() || one.size() != 2 || !one[0].is_array() || one[0].empty() || !one[1].is_number()) wrong("sequence_bias", biases, expected);
      o_.sequence_bias.push_back({list("sequence_bias", one[0]), one[1].get<float>()});
    }
  }
  // A text, or a list of texts; what the command line took for another value is a text as well.
  void stop_strings() {
    const auto found = from_.find("stop_strings");
    if (found == from_.end()) return;
    o_.stop_strings.clear();
    const Json listed = found->is_string() ? parsed(*found) : *found;
    const Json all = listed.is_array() ? listed : Json::array({*found});
    for (const Json& text : all) {
      if (text.is_null()) continue;
      o_.stop_strings.push_back(text.is_string() ? text.get<std::string>() : text.dump(-1, ' ', false, Json::error_handler_t::replace));
      if (o_.stop_strings.back().empty()) wrong("stop_strings", *found, "texts that are not empty");
    }
  }

  const Json& from_;
  GenerationOptions& o_;
};

// Keys that say how the reference computes, what it returns, or how a second network helps it: the text is the same.
bool harmless(const std::string& key) {
  static const std::vector<std::string> keys = {
      "use_cache", "cache_implementation", "cache_config", "max_cache_len", "return_legacy_cache", "low_memory", "prefill_chunk_size", "output_attentions",
      "output_hidden_states", "output_scores", "output_logits", "return_dict_in_generate", "bos_token_id", "is_assistant", "num_assistant_tokens",
      "num_assistant_tokens_schedule", "assistant_confidence_threshold", "prompt_lookup_num_tokens", "max_matching_ngram_size",
      "assistant_early_exit", "assistant_lookbehind", "target_lookbehind", "assistant_ensemble_weight", "speculation_type", "use_mtp", "compile_config",
      "disable_compile", "continuous_batching_config", "transformers_version", "_from_model_config"};
  return std::find(keys.begin(), keys.end(), key) != keys.end();
}

// What makes no sense together.
void check_together(const GenerationOptions& o) {
  const auto refuse = [](const std::string& message) { throw std::invalid_argument(message); };
  if (o.num_beams > 1 && o.num_return_sequences > o.num_beams) {
    refuse("num_return_sequences is " + std::to_string(o.num_return_sequences) + "; expected at most num_beams, " + std::to_string(o.num_beams));
  }
  if (o.num_beams == 1 && !o.do_sample && o.num_return_sequences > 1) {
    refuse("num_return_sequences is " + std::to_string(o.num_return_sequences) + ", but greedy decoding gives one result (set num_beams or do_sample)");
  }
  if (o.min_new_tokens > o.max_new_tokens) {
    refuse("min_new_tokens is " + std::to_string(o.min_new_tokens) + ", more than max_new_tokens " + std::to_string(o.max_new_tokens));
  }
  if (o.num_beam_groups == 1) return;
  if (o.num_beams % o.num_beam_groups != 0) {
    refuse("num_beams is " + std::to_string(o.num_beams) + "; expected a multiple of num_beam_groups, " + std::to_string(o.num_beam_groups));
  }
  if (o.diversity_penalty == 0) refuse("diversity_penalty is 0, so that all " + std::to_string(o.num_beam_groups) + " beam groups would be alike; expected more (such as 0.5)");
  if (o.do_sample || !o.stop_strings.empty()) refuse("num_beam_groups goes neither with do_sample nor with stop_strings");
}

}  // namespace generation_options_detail

const std::vector<std::string>& generation_keys() {
  static const std::vector<std::string> keys = {
      "max_new_tokens", "min_new_tokens", "max_length", "min_length", "num_beams", "num_beam_groups", "num_return_sequences",
      "no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "length_penalty", "repetition_penalty", "encoder_repetition_penalty",
      "diversity_penalty", "exponential_decay_length_penalty", "early_stopping", "do_sample", "temperature", "top_k", "top_p", "min_p",
      "typical_p", "top_h", "epsilon_cutoff", "eta_cutoff", "renormalize_logits", "remove_invalid_values", "decoder_start_token_id",
      "pad_token_id", "forced_bos_token_id", "eos_token_id", "forced_eos_token_id", "suppress_tokens", "begin_suppress_tokens",
      "bad_words_ids", "sequence_bias", "stop_strings"};
  return keys;
}

std::vector<std::string> unfollowed_keys(const Json& stored) {
  std::vector<std::string> found;
  if (!stored.is_object()) return found;
  for (const auto& [key, value] : stored.items()) {
    const bool known = std::find(generation_keys().begin(), generation_keys().end(), key) != generation_keys().end();
    const bool off = value.is_null() || value == false || (key == "guidance_scale" && value == 1) || (key == "penalty_alpha" && value == 0) ||
                     ((value.is_array() || value.is_object()) && value.empty());
    if (!known && !off && !generation_options_detail::harmless(key)) found.push_back(key.substr(0, 80));
  }
  return found;
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
  d::check_together(options);
  return options;
}

}  // namespace zoo::app
