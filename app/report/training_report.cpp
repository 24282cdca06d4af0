#include "app/report/training_report.h"

#include <ATen/Parallel.h>
#include <spdlog/spdlog.h>
#include <torch/version.h>

#include <array>
#include <cctype>
#include <ctime>

#include "app/machine.h"
#include "app/report/html.h"
#include "app/report/progress.h"
#include "app/report/svg.h"
#include "app/report/table.h"
#include "app/tasks/image_data.h"
#include "data/image.h"
#include "models/blocks/linear.h"
#include "models/registry.h"
#include "weights/files.h"

namespace zoo::app {
namespace training_report_detail {

std::string percent(double share) { return fixed_text(100.0 * share, 2) + " %"; }

std::string value_text(const Json& value) { return value.is_string() ? value.get<std::string>() : value.dump(); }

std::string now_text() {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  std::array<char, 64> text;
  return {text.data(), std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M", &local)};
}

void add_summary(Page& page, const TrainingReport& r) {
  page.paragraph(r.recipe.task + " on " + r.recipe.data + ", " + now_text());
  std::vector<std::pair<std::string, std::string>> tiles;
  const std::string where = r.result.value("evaluated_on", std::string());
  for (const char* key : {"accuracy", "macro_f1", "spearman", "pearson", "f1"}) {
    const auto found = r.evaluation.metrics.find(key);
    if (found != r.evaluation.metrics.end() && found->is_number()) tiles.emplace_back(percent(found->get<double>()), std::string(key) + ", " + where);
  }
  tiles.emplace_back(duration_text(r.history.seconds), "training, " + std::to_string(r.history.epochs.size()) + " epochs");
  if (!r.history.epochs.empty()) tiles.emplace_back(duration_text(r.history.epochs.back().seconds), "per epoch (the last)");
  tiles.emplace_back(count_text(parameter_count(*r.bundle.model)), "parameters");
  page.figures(tiles);
  if (where == "train") page.paragraph("The data has one split only: these figures are of the training examples themselves and say nothing about new ones.");
  const bool validated = !r.result.at("best").at("validation").is_null();
  page.paragraph(validated ? "The checkpoint is that of epoch " + std::to_string(r.result["best"]["epoch"].get<int64_t>()) +
                                 ", the best on the validation examples. The figures above come from one measurement afterwards, on other examples."
                           : "The checkpoint is that of the last epoch: without validation examples nothing was chosen by results.");
  if (r.result.value("interrupted", false)) page.paragraph("The training was interrupted before the recipe's end.");
}

void add_curves(Page& page, const TrainingReport& r) {
  page.heading("Curves");
  Plot loss{"loss", "epoch", {{"training", {}}}}, rate{"learning rate", "epoch", {{"lr", {}}}}, metric{"validation", "epoch", {}};
  for (const auto& line : r.history.steps) {
    loss.series[0].points.emplace_back(line.epoch, line.loss);
    rate.series[0].points.emplace_back(line.epoch, line.lr);
  }
  Series validation_loss{"validation", {}, true};
  std::map<std::string, Series> validation;
  for (const auto& line : r.history.epochs) {
    if (line.validation.is_null()) continue;
    for (const auto& [key, value] : line.validation.items()) {
      if (!value.is_number_float()) continue;
      if (key == "loss") validation_loss.points.emplace_back(line.epoch, value.get<double>());
      else if (key == "accuracy" || key == "macro_f1" || key == "spearman" || key == "pearson") validation[key].points.emplace_back(line.epoch, value.get<double>());
    }
  }
  if (!validation_loss.points.empty()) loss.series.push_back(validation_loss);
  for (auto& [name, series] : validation) metric.series.push_back({name, series.points, true});
  page.raw("<div class=\"plots\">" + draw_svg(loss) + (metric.series.empty() ? "" : draw_svg(metric)) + draw_svg(rate) + "</div>");
}

void add_epochs(Page& page, const TrainingReport& r, const std::string& metric) {
  page.heading("Epochs");
  std::vector<std::vector<std::string>> rows;
  for (const auto& line : r.history.epochs) {
    const bool known = line.validation.is_object() && line.validation.contains(metric);
    rows.push_back({std::to_string(line.epoch), fixed_text(line.train_loss, 4),
                    known ? fixed_text(line.validation[metric].get<double>(), 4) : "", duration_text(line.seconds)});
  }
  page.table({"epoch", "training loss", "validation " + metric, "time"}, rows);
}

// Blue on the diagonal, red beside it; the shade is the share of the true class.
std::string matrix_cell(int64_t count, int64_t row_total, bool diagonal) {
  const double share = row_total > 0 ? static_cast<double>(count) / static_cast<double>(row_total) : 0.0;
  const double strength = diagonal ? share * 0.75 : std::min(1.0, share * 4.0) * 0.85;
  const std::string colour = diagonal ? "37,99,201," : "220,70,40,";
  return "<td style=\"background:rgba(" + colour + fixed_text(strength, 3) + ")\">" + (count > 0 ? std::to_string(count) : "") + "</td>";
}

void add_confusion(Page& page, const Json& details) {
  const auto found = details.find("confusion");
  if (found == details.end() || found->size() > 60) return;
  page.heading("Confusion matrix");
  page.paragraph("Rows are true classes, columns predictions; the shade is the share of the row.");
  const auto& labels = details.at("labels");
  std::string html = "<div class=\"scroll\"><table class=\"matrix\">\n<tr><th></th>";
  for (const auto& label : labels) html += "<th>" + escape_html(label.get<std::string>()) + "</th>";
  html += "</tr>\n";
  for (size_t row = 0; row < found->size(); ++row) {
    const auto counts = (*found)[row].get<std::vector<int64_t>>();
    int64_t total = 0;
    for (const auto count : counts) total += count;
    html += "<tr><th>" + escape_html(labels[row].get<std::string>()) + "</th>";
    for (size_t column = 0; column < counts.size(); ++column) html += matrix_cell(counts[column], total, row == column);
    html += "</tr>\n";
  }
  page.raw(html + "</table></div>");
}

void add_classes(Page& page, const Json& details) {
  const auto found = details.find("per_class");
  if (found == details.end()) return;
  page.heading("Classes");
  std::vector<std::vector<std::string>> rows;
  for (const auto& line : *found) {
    rows.push_back({line.at("label"), fixed_text(line.at("precision").get<double>(), 4), fixed_text(line.at("recall").get<double>(), 4),
                    fixed_text(line.at("f1").get<double>(), 4), std::to_string(line.at("support").get<int64_t>())});
  }
  page.table({"class", "precision", "recall", "F1", "examples"}, rows);
}

// What is safe in file names on every system, and short.
std::string file_word(const std::string& label) {
  std::string word;
  for (const unsigned char c : label.substr(0, 40)) word += std::isalnum(c) ? static_cast<char>(c) : '_';
  return word;
}

void add_mistakes(Page& page, const TrainingReport& r, const std::filesystem::path& folder) {
  const auto found = r.evaluation.details.find("mistakes");
  const auto* pictures = dynamic_cast<const Pictures*>(&r.data);
  if (found == r.evaluation.details.end() || found->empty()) return;
  page.heading("Worst mistakes");
  page.paragraph(std::string("Wrong answers, the surest first.") + (pictures ? " The same pictures lie beside this page in report/." : ""));
  if (pictures && data::image_files_supported()) std::filesystem::create_directories(folder / "report");
  std::string html = "<div class=\"gallery\">\n";
  for (size_t i = 0; i < found->size(); ++i) {
    const auto& mistake = (*found)[i];
    const auto truth = mistake.at("truth").get<std::string>(), guess = mistake.at("prediction").get<std::string>();
    const auto index = mistake.at("index").get<int64_t>();
    html += "<figure>";
    if (pictures && data::image_files_supported()) {
      const std::string png = data::encode_png(pictures->picture(index));
      std::array<char, 16> number;
      std::snprintf(number.data(), number.size(), "%02d", static_cast<int>(i + 1));
      weights::write_file_atomically(folder / "report" / ("mistake_" + std::string(number.data()) + "_true-" + file_word(truth) + "_pred-" + file_word(guess) + ".png"), png);
      html += "<img alt=\"" + escape_html(truth) + "\" src=\"data:image/png;base64," + base64(png) + "\">";
    }
    html += "<figcaption><span class=\"soft\">true</span> " + escape_html(truth) + "<br><span class=\"soft\">predicted</span> <span class=\"bad\">" +
            escape_html(guess) + "</span><br>" + percent(mistake.at("probability").get<double>()) + " <span class=\"soft\">" +
            escape_html(r.data.describe(index)) + "</span></figcaption></figure>\n";
  }
  page.raw(html + "</div>");
}

void add_facts(Page& page, const TrainingReport& r) {
  page.heading("Recipe");
  std::vector<std::pair<std::string, std::string>> rows;
  const Json recipe = write_recipe(r.recipe);
  for (const auto& [key, value] : recipe.items()) rows.emplace_back(key, value_text(value));
  page.facts(rows);
  page.heading("Environment");
  page.facts({{"zoo", ZOO_VERSION}, {"LibTorch", TORCH_VERSION}, {"device", r.bundle.device.str()}, {"processor", cpu_name()},
              {"threads", std::to_string(at::get_num_threads())}, {"linear kernel", linear_kernel_name()}});
}

}  // namespace training_report_detail

void write_training_report(const std::filesystem::path& folder, const TrainingReport& report) {
  namespace d = training_report_detail;
  Page page("Training of " + report.recipe.model);
  d::add_summary(page, report);
  d::add_curves(page, report);
  d::add_epochs(page, report, report.primary_metric);
  d::add_confusion(page, report.evaluation.details);
  d::add_classes(page, report.evaluation.details);
  d::add_mistakes(page, report, folder);
  d::add_facts(page, report);
  weights::write_file_atomically(folder / "report.html", page.html());
}

}  // namespace zoo::app
