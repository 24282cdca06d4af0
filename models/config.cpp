#include "models/config.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <stdexcept>

#include "models/names.h"

namespace zoo {
namespace {

// What Hugging Face writes into every config.json of any network; none of it changes the numbers of an encoder.
const std::set<std::string>& bookkeeping() {
  static const std::set<std::string> keys = {
      "_name_or_path", "_attn_implementation", "_attn_implementation_autoset", "_commit_hash", "_num_labels", "architectures",
      "auto_map", "model_type", "transformers_version", "torch_dtype", "dtype", "use_cache", "gradient_checkpointing",
      "return_dict", "output_hidden_states", "output_attentions", "torchscript", "use_bfloat16", "pruned_heads",
      "chunk_size_feed_forward", "problem_type", "finetuning_task", "task_specific_params", "tokenizer_class", "prefix",
      "label2id", "id2label", "num_labels", "bos_token_id", "eos_token_id", "pad_token_id", "sep_token_id", "decoder_start_token_id",
      "is_encoder_decoder", "is_decoder", "add_cross_attention", "cross_attention_hidden_size", "tie_encoder_decoder",
      "tie_word_embeddings", "max_length", "min_length", "do_sample", "early_stopping", "num_beams", "num_beam_groups",
      "diversity_penalty", "temperature", "top_k", "top_p", "typical_p", "repetition_penalty", "length_penalty",
      "no_repeat_ngram_size", "encoder_no_repeat_ngram_size", "bad_words_ids", "num_return_sequences", "output_scores",
      "return_dict_in_generate", "forced_bos_token_id", "forced_eos_token_id", "remove_invalid_values",
      "exponential_decay_length_penalty", "suppress_tokens", "begin_suppress_tokens", "tf_legacy_loss", "directionality",
      "pooler_fc_size", "pooler_num_attention_heads", "pooler_num_fc_layers", "pooler_size_per_head", "pooler_type",
      "is_composition", "_output_attentions", "zoo"};
  return keys;
}

}  // namespace

void Fields::wrong(const std::string& key, const Json& seen, const std::string& expected) const {
  std::string value = seen.dump(-1, ' ', false, Json::error_handler_t::replace);
  if (value.size() > 80) value = value.substr(0, 77) + "...";
  throw std::invalid_argument(model_ + ": config key '" + key + "' is " + value + "; expected " + expected);
}

void Fields::require(bool condition, const std::string& what) const {
  if (!condition) throw std::invalid_argument(model_ + ": " + what);
}

const Json* Fields::find(const std::string& key) {
  known_.insert(key);
  const auto found = json_.find(key);
  return found == json_.end() ? nullptr : &*found;
}

template <class T>
void Fields::whole(const std::string& key, T& value, int64_t low, int64_t high) {
  if (mode_ == Mode::write) { json_[key] = value; return; }
  const Json* seen = find(key);
  if (!seen) return;
  const std::string expected = "a whole number from " + std::to_string(low) + " to " + std::to_string(high);
  if (!seen->is_number_integer()) wrong(key, *seen, expected);
  if (seen->is_number_unsigned() && seen->get<uint64_t>() > static_cast<uint64_t>(high)) wrong(key, *seen, expected);
  value = seen->get<int64_t>();
  if (value < low || value > high) wrong(key, *seen, expected);
}

template <class T>
void Fields::real(const std::string& key, T& value, double low, bool low_open, double high, const char* range) {
  if (mode_ == Mode::write) { json_[key] = value; return; }
  const Json* seen = find(key);
  if (!seen) return;
  if (!seen->is_number()) wrong(key, *seen, range);
  value = seen->get<double>();
  if (!std::isfinite(value) || value < low || (low_open && value == low) || value >= high) wrong(key, *seen, range);
}

void Fields::size(const std::string& key, int64_t& value) { whole(key, value, 1); }
void Fields::depth(const std::string& key, int64_t& value) { whole(key, value, 1, 1024); }
void Fields::count(const std::string& key, int64_t& value) { whole(key, value, 0); }

void Fields::number(const std::string& key, double& value) {
  const double inf = std::numeric_limits<double>::infinity();
  real(key, value, -inf, true, inf, "a number");
}
void Fields::probability(const std::string& key, double& value) { real(key, value, 0.0, false, 1.0, "a number from 0 up to, not including, 1"); }
void Fields::optional_size(const std::string& key, int64_t& value) {
  if (mode_ == Mode::read && json_.contains(key) && json_[key].is_null()) { known_.insert(key); return; }
  size(key, value);
}
void Fields::optional_probability(const std::string& key, double& value) {
  if (mode_ == Mode::read && json_.contains(key) && json_[key].is_null()) { known_.insert(key); return; }
  probability(key, value);
}
void Fields::epsilon(const std::string& key, double& value) { real(key, value, 0.0, true, 1.0, "a number above 0 and below 1"); }

void Fields::sizes(const std::string& key, std::vector<int64_t>& values) {
  if (mode_ == Mode::write) { json_[key] = values; return; }
  const Json* seen = find(key);
  if (!seen) return;
  const std::string expected = "a list of 1 to 64 whole numbers from 1 to " + std::to_string(int64_t{1} << 31);
  if (!seen->is_array() || seen->empty() || seen->size() > 64) wrong(key, *seen, expected);
  values.clear();
  for (const auto& item : *seen) {
    if (!item.is_number_integer() || item.get<double>() < 1 || item.get<double>() > static_cast<double>(int64_t{1} << 31)) wrong(key, *seen, expected);
    values.push_back(item.get<int64_t>());
  }
}

void Fields::flag(const std::string& key, bool& value) {
  if (mode_ == Mode::write) { json_[key] = value; return; }
  const Json* seen = find(key);
  if (!seen) return;
  if (!seen->is_boolean()) wrong(key, *seen, "true or false");
  value = seen->get<bool>();
}

void Fields::text(const std::string& key, std::string& value) {
  if (mode_ == Mode::write) { json_[key] = value; return; }
  const Json* seen = find(key);
  if (!seen) return;
  if (!seen->is_string()) wrong(key, *seen, "a string");
  value = seen->get<std::string>();
}

void Fields::one_of(const std::string& key, std::string& value, const std::vector<std::string>& allowed) {
  text(key, value);
  if (mode_ == Mode::read && std::find(allowed.begin(), allowed.end(), value) == allowed.end()) {
    wrong(key, value, "one of " + join(allowed));
  }
}

void Fields::labels(const std::string& key, int64_t& count) {
  if (mode_ == Mode::write) { json_[key] = count; return; }
  whole(key, count, 1);
  if (const Json* names = find("id2label"); names && !names->is_null()) {
    if (!names->is_object() || names->empty()) wrong("id2label", *names, "an object of id -> class name with at least one entry");
    count = static_cast<int64_t>(names->size());
  }
}

void Fields::square(const std::string& key, int64_t& value) {
  if (mode_ == Mode::read && json_.contains(key) && json_[key].is_array()) {
    const Json pair = json_[key];
    if (pair.size() != 2 || pair[0] != pair[1]) wrong(key, pair, "a whole number or two equal ones");
    json_[key] = pair[0];
  }
  size(key, value);
}

void Fields::fixed(const std::string& key, const Json& value) {
  if (mode_ == Mode::write) return;
  const Json* seen = find(key);
  if (seen && !seen->is_null() && *seen != value) wrong(key, *seen, value.dump() + ", the only value this network implements");
}

void Fields::finish() const {
  for (const auto& [key, value] : json_.items()) {
    if (known_.count(key) || bookkeeping().count(key)) continue;
    const std::vector<std::string> known(known_.begin(), known_.end());
    throw std::invalid_argument(model_ + ": unknown config key '" + key.substr(0, 80) + "'; nearest: " + join(nearest(key, known)) +
                                " (known: " + join(known) + ")");
  }
}

std::string architecture_of(const std::string& model, const Json& config, const std::string& fallback,
                            const std::vector<std::string>& known) {
  const auto found = config.find("architectures");
  if (found == config.end() || found->is_null() || (found->is_array() && found->empty())) return fallback;
  if (!found->is_array() || !found->front().is_string()) {
    throw std::invalid_argument(model + ": config key 'architectures' must be a list of names");
  }
  const auto name = found->front().get<std::string>();
  if (std::find(known.begin(), known.end(), name) == known.end()) {
    throw std::invalid_argument(model + ": architecture '" + name.substr(0, 80) + "' is not implemented; known: " + join(known) +
                                " (edit \"architectures\" in config.json)");
  }
  return name;
}

}  // namespace zoo
