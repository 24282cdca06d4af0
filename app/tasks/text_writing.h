// Texts that a network writes token after token, shared by the tasks seq2seq and generate: for a list of texts (evaluation) and for
// inputs of any size (`zoo run`).
#pragma once
#include <span>
#include <string>
#include <vector>

#include "app/engine/generation.h"
#include "app/tasks/task.h"

namespace zoo::app {

// How the bundle's network generates: `options` (generation_keys() without max_length, which is the input's; prefix: a text that the
// decoder has written already; allowed: a file of the only outputs there may be, one a line) over generation_config.json over config.json.
// Throws UsageError for mistakes in `options`, std::invalid_argument for those in the folder's files.
GenerationOptions generation_of(const Bundle& bundle, const Json& options);
// Throws std::runtime_error for ids beyond the embedding: the folder's tokenizer belongs to another network.
void check_ids(const Bundle& bundle, std::span<const tokenizers::Encoding> encodings);
void check_ids(const tokenizers::Tokenizer& tokenizer, int64_t vocabulary, std::span<const tokenizers::Encoding> encodings);
int64_t vocabulary_of(const Bundle& bundle);  // rows of the network's embedding, where its config says

// For each text the results as a JSON list of {"text", "ids", "score" (beam search)}, best first; an empty text has none.
std::vector<Json> write_texts_for(Bundle& bundle, const GenerationOptions& how, std::span<const std::string> texts,
                                  std::span<const tokenizers::Encoding> encodings);
// The best result as one line.
std::string line_of(const Json& results);

// `zoo run`: reads the inputs in windows, writes the results in their order as they are made, resumes. `continues`: the texts are
// prompts that the network goes on with, without padding, so that no line's text depends on its neighbours.
Json run_writing(Bundle& bundle, const RunOptions& options, bool continues);

}  // namespace zoo::app
