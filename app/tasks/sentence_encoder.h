// Sentence vectors the way sentence-transformers makes them: token states pooled and usually scaled to length 1.
// Reference: sentence-transformers 6.2.0, modules Transformer, Pooling, Normalize.
#pragma once
#include <span>
#include <string>
#include <vector>

#include "app/tasks/text_batches.h"

namespace zoo::app {

// What a folder's modules.json, 1_Pooling/config.json, sentence_bert_config.json and config_sentence_transformers.json ask
// for. A folder without modules.json gets the mean of its tokens, scaled to length 1.
struct SentenceSettings {
  std::vector<std::string> pooling{"mean"};  // of pooling_modes(), concatenated in this order
  bool normalize = true;
  bool lower_case = false;   // "do_lower_case": before the tokenizer
  int64_t max_length = 512;  // tokens of a sentence, special ones included; longer ones are cut
  std::string prompt;        // put before every sentence
  std::string origin;        // "modules.json", or the default and why
  std::string describe() const;  // "mean of the tokens, normalised, at most 256 tokens (modules.json)"
};

// cls, max, mean, mean_sqrt_len_tokens, weightedmean, lasttoken
const std::vector<std::string>& pooling_modes();

// Options: "pooling" (modes joined by commas), "normalize" (true, false), "max_length", "prompt" (text put before every
// sentence) or "prompt_name" (one of the folder's own). sentence_bert_config.json's max_seq_length goes before the limits
// that tokenizer.json and tokenizer_config.json hold, as in the reference.
// Throws UsageError for a wrong option, std::runtime_error for a folder whose modules are not these.
SentenceSettings sentence_settings(const Bundle& bundle, const Json& options);

// [B, T, D] states and mask [B, T] (true = keep; undefined: keep all) -> [B, D * modes] in float32.
at::Tensor pool_tokens(const at::Tensor& hidden, const at::Tensor& mask, std::span<const std::string> modes);
// Rows scaled to length 1, as the reference does it (a zero row stays zero).
at::Tensor normalize_rows(const at::Tensor& rows);

// The network on one batch (tokens, token_types, mask as pad_encodings gives them), pooled: [B, D].
at::Tensor sentence_vectors(Model& model, const Tensors& inputs, const SentenceSettings& settings);
// The same, cut into runs of rows of equal length, which need no mask and no padding; for rows sorted by length on a CPU.
at::Tensor sentence_vectors_by_length(Model& model, const Tensors& inputs, const SentenceSettings& settings);

// Settings travel with a batch, because a task's forward() sees nothing else: as empty tensors with telling names.
void put_settings(const SentenceSettings& settings, Tensors& batch);
SentenceSettings settings_of(const Tensors& batch);

// A text as the tokenizer gets it: lower-cased and with the prompt, where the settings say so.
std::string prepare_sentence(std::string_view text, const SentenceSettings& settings);

// Many sentences to vectors [N, D], float32 on the CPU, in the order of the texts. Equal texts are computed once.
// `title` heads a progress bar; empty: none. `batch_size` 0: chosen for the device.
at::Tensor encode_sentences(const Bundle& bundle, const SentenceSettings& settings, std::span<const std::string> texts,
                            const std::string& title, int64_t batch_size = 0);

// Files and folders of a checkpoint, relative to it, that make it a sentence-transformers folder: what a trained copy must
// carry along besides config, weights and tokenizer. Only those that are there.
std::vector<std::filesystem::path> sentence_encoder_files(const std::filesystem::path& folder);

}  // namespace zoo::app
