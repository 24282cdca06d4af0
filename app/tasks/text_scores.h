// The figures of written texts beside their references, by name: what --metrics asks for.
#pragma once
#include <string>
#include <vector>

#include "metrics/texts.h"
#include "models/model.h"

namespace zoo::app {

// bleu, codexglue_bleu, chrf, chrf++, rouge, exact_match, token_f1, codebleu.
const std::vector<std::string>& text_metric_names();

struct TextMetrics {
  std::vector<std::string> names;
  // Options of the figures.
  std::string tokenize = "13a";  // bleu: 13a, none, char, intl
  std::string lang = "java";     // codebleu: whose keywords
  bool use_stemmer = false;      // rouge
};

// Option "metrics" ("bleu,chrf", or a list of names) with the options above; no names when it is not there. Throws UsageError that
// names the nearest metrics, tokenizers or languages.
TextMetrics text_metrics(const Json& options);

// {"bleu": 0 .. 100, "codexglue_bleu": 0 .. 100, "chrf", "chrf++": 0 .. 100, "rouge1", "rouge2", "rougeL", "rougeLsum": 0 .. 1,
// "exact_match": 0 .. 1, "token_f1", "squad_exact_match": 0 .. 1, "codebleu_ngram", "codebleu_weighted_ngram": 0 .. 1,
// "codebleu_left_out"}: those that were asked for. Throws what metrics::check_counts throws.
Json text_figures(const TextMetrics& wanted, const metrics::Texts& hypotheses, const metrics::References& references);

}  // namespace zoo::app
