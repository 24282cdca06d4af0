#include "app/tasks/text_scores.h"

#include <algorithm>

#include "app/cli.h"
#include "app/tasks/option_values.h"
#include "metrics/answers.h"
#include "metrics/bleu.h"
#include "metrics/chrf.h"
#include "metrics/code_bleu.h"
#include "metrics/rouge.h"
#include "models/names.h"

namespace zoo::app {
namespace text_scores_detail {

std::vector<std::string> names_of(const Json& value) {
  if (value.is_array()) {
    std::vector<std::string> names;
    for (const auto& name : value) names.push_back(name.is_string() ? name.get<std::string>() : name.dump());
    return names;
  }
  if (!value.is_string()) throw UsageError("metrics is " + value.dump() + "; names joined by commas are expected: bleu,chrf");
  std::vector<std::string> names(1);
  for (const char c : value.get<std::string>()) {
    if (c == ',') names.emplace_back();
    else if (c != ' ') names.back() += c;
  }
  return names;
}

void check_name(const std::string& name) {
  const auto& known = text_metric_names();
  if (std::find(known.begin(), known.end(), name) != known.end()) return;
  throw UsageError("unknown metric '" + name + "'; nearest: " + join(nearest(name, known)) + " (all: " + join(known) + ")");
}

Json one_figure(const std::string& name, const TextMetrics& wanted, const metrics::Texts& hypotheses, const metrics::References& references) {
  if (name == "bleu") return {{"bleu", metrics::sacre_bleu(hypotheses, references, metrics::bleu_tokenizer(wanted.tokenize)).score}};
  if (name == "codexglue_bleu") return {{"codexglue_bleu", metrics::codexglue_bleu(hypotheses, references).score}};
  if (name == "chrf") return {{"chrf", metrics::chrf(hypotheses, references)}};
  if (name == "chrf++") return {{"chrf++", metrics::chrf(hypotheses, references, 2)}};
  if (name == "exact_match") return {{"exact_match", metrics::exact_match(hypotheses, references)}};
  if (name == "rouge") {
    const auto rouge = metrics::rouge(hypotheses, references, wanted.use_stemmer);
    return {{"rouge1", rouge.rouge1}, {"rouge2", rouge.rouge2}, {"rougeL", rouge.rouge_l}, {"rougeLsum", rouge.rouge_lsum}};
  }
  if (name == "token_f1") {
    const auto squad = metrics::squad(hypotheses, references);
    return {{"token_f1", squad.f1}, {"squad_exact_match", squad.exact_match}};
  }
  const auto code = metrics::code_bleu(hypotheses, references, wanted.lang);
  return {{"codebleu_ngram", code.ngram}, {"codebleu_weighted_ngram", code.weighted_ngram}, {"codebleu_left_out", "syntax, data flow"}};
}

}  // namespace text_scores_detail

const std::vector<std::string>& text_metric_names() {
  static const std::vector<std::string> names{"bleu", "codexglue_bleu", "chrf", "chrf++", "rouge", "exact_match", "token_f1", "codebleu"};
  return names;
}

TextMetrics text_metrics(const Json& options) {
  namespace d = text_scores_detail;
  TextMetrics wanted;
  if (!options.is_object() || !options.contains("metrics")) return wanted;
  wanted.names = d::names_of(options.at("metrics"));
  for (const auto& name : wanted.names) d::check_name(name);
  wanted.tokenize = text_option(options, "tokenize", wanted.tokenize);
  wanted.lang = text_option(options, "lang", wanted.lang);
  wanted.use_stemmer = flag_option(options, "use_stemmer", wanted.use_stemmer);
  try {
    metrics::bleu_tokenizer(wanted.tokenize);
    metrics::code_keywords(wanted.lang);
  } catch (const std::invalid_argument& error) {
    throw UsageError(error.what());
  }
  return wanted;
}

Json text_figures(const TextMetrics& wanted, const metrics::Texts& hypotheses, const metrics::References& references) {
  metrics::check_counts(hypotheses, references);
  Json figures = Json::object();
  for (const auto& name : wanted.names) figures.update(text_scores_detail::one_figure(name, wanted, hypotheses, references));
  return figures;
}

}  // namespace zoo::app
