#include "app/report/training_report.h"

#include <ATen/Parallel.h>
#include <spdlog/spdlog.h>
#include <torch/version.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <ctime>
#include <map>

#include "app/machine.h"
#include "app/report/figures.h"
#include "app/report/forecast_plots.h"
#include "app/report/html.h"
#include "app/report/memory.h"
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

std::string tile_text(const std::string& metric, double value) { return is_share(metric) ? percent(value) : figure_text(value); }

// The task's own figure first, then up to three others for which it is known what is good.
void add_tiles(Page& page, const TrainingReport& r, const std::string& where) {
  std::vector<std::pair<std::string, std::string>> tiles;
  const auto add = [&](const std::string& key, double value) {
    if (tiles.size() < 4) tiles.emplace_back(tile_text(key, value), key + ", " + where);
  };
  if (const auto primary = figure(r.evaluation.metrics, r.primary_metric)) add(r.primary_metric, *primary);
  for (const auto& [key, value] : flat_figures(r.evaluation.metrics)) {
    if (key != r.primary_metric && key.find('.') == std::string::npos && key != "loss" && better(key) != Better::unknown) add(key, value);
  }
  tiles.emplace_back(duration_text(r.history.seconds), "training, " + std::to_string(r.history.epochs.size()) + " epochs");
  if (!r.history.epochs.empty()) tiles.emplace_back(duration_text(r.history.epochs.back().seconds), "per epoch (the last)");
  tiles.emplace_back(count_text(parameter_count(*r.bundle.model)), "parameters");
  page.figures(tiles);
}

void add_summary(Page& page, const TrainingReport& r) {
  page.paragraph(r.recipe.task + " on " + r.recipe.data + ", " + now_text());
  if (!r.recipe.description.empty()) page.paragraph(r.recipe.description);
  const std::string where = r.result.value("evaluated_on", std::string());
  add_tiles(page, r, where);
  if (where == "train") page.paragraph("The data has one split only: these figures are of the training examples themselves and say nothing about new ones.");
  const bool validated = !r.result.at("best").at("validation").is_null();
  page.paragraph(validated ? "The checkpoint is that of epoch " + std::to_string(r.result["best"]["epoch"].get<int64_t>()) +
                                 ", the best on the validation examples. The figures above come from one measurement afterwards, on other examples."
                           : "The checkpoint is that of the last epoch: without validation examples nothing was chosen by results.");
  if (r.result.value("interrupted", false)) page.paragraph("The training was interrupted before the recipe's end.");
}

// A row for each figure of the network; beside it, where metrics hold objects with the same names (naive baselines, say), those.
void add_figures(Page& page, const TrainingReport& r) {
  const auto all = flat_figures(r.evaluation.metrics);
  std::vector<std::string> header{"figure", r.recipe.model}, others, rows;
  for (const auto& [path, value] : all) {
    const auto dot = path.find_last_of('.');
    const std::string name = path.substr(dot == std::string::npos ? 0 : dot + 1), from = dot == std::string::npos ? "" : path.substr(0, dot);
    if (!from.empty() && std::find(others.begin(), others.end(), from) == others.end()) others.push_back(from);
    if (std::find(rows.begin(), rows.end(), name) == rows.end()) rows.push_back(name);
  }
  if (rows.empty()) return;
  page.heading("Figures on " + r.result.value("evaluated_on", std::string("the evaluation data")));
  header.insert(header.end(), others.begin(), others.end());
  std::vector<std::vector<std::string>> cells;
  for (const auto& name : rows) {
    std::vector<std::string> row{name};
    const auto own = figure(r.evaluation.metrics, name);
    row.push_back(own ? figure_text(*own) : "");
    for (const auto& other : others) {
      const auto value = figure(r.evaluation.metrics, other + "." + name);
      row.push_back(value ? figure_text(*value) : "");
    }
    cells.push_back(row);
  }
  page.table(header, cells);
}

// Shares (accuracy, F1 ...) in one plot, each other figure in one of its own.
std::vector<Plot> validation_plots(const TrainingReport& r) {
  Plot shares{"validation", "epoch", {}};
  std::vector<Plot> plots;
  std::map<std::string, Series> curves;
  std::vector<std::string> order;
  for (const auto& line : r.history.epochs) {
    for (const auto& [key, value] : flat_figures(line.validation)) {
      if (key == "loss" || key.find('.') != std::string::npos || better(key) == Better::unknown) continue;
      if (!curves.count(key)) curves[key] = {key, {}, true}, order.push_back(key);
      curves[key].points.emplace_back(line.epoch, value);
    }
  }
  std::stable_partition(order.begin(), order.end(), [&](const std::string& key) { return key == r.primary_metric; });
  for (const auto& key : order) {
    if (is_share(key) && shares.series.size() < 6) shares.series.push_back(curves[key]);
    else if (!is_share(key) && plots.size() < 5) plots.push_back({"validation " + key, "epoch", {curves[key]}});
  }
  if (shares.series.size() == 1) shares.title = "validation " + shares.series[0].name;
  if (!shares.series.empty()) plots.insert(plots.begin(), shares);
  return plots;
}

void add_curves(Page& page, const TrainingReport& r) {
  page.heading("Curves");
  Plot loss{"loss", "epoch", {{"training", {}}}}, rate{"learning rate", "epoch", {{"lr", {}}}}, norm{"gradient norm", "epoch", {{"norm", {}}}};
  for (const auto& line : r.history.steps) {
    loss.series[0].points.emplace_back(line.epoch, line.loss);
    rate.series[0].points.emplace_back(line.epoch, line.lr);
    norm.series[0].points.emplace_back(line.epoch, line.gradient_norm);
  }
  Series validation_loss{"validation", {}, true};
  for (const auto& line : r.history.epochs) {
    if (const auto value = figure(line.validation, "loss")) validation_loss.points.emplace_back(line.epoch, *value);
  }
  if (!validation_loss.points.empty()) loss.series.push_back(validation_loss);
  std::string html = draw_svg(loss);
  for (const auto& plot : validation_plots(r)) html += draw_svg(plot);
  page.raw("<div class=\"plots\">" + html + draw_svg(rate) + draw_svg(norm) + "</div>");
}

void add_forecasts(Page& page, const TrainingReport& r) {
  auto plots = forecast_plots(find_task(r.recipe.task), r.bundle, r.data);
  for (auto& plot : error_plots(r.evaluation.details)) plots.push_back(std::move(plot));
  if (plots.empty()) return;
  page.heading("Forecasts and what came");
  page.paragraph("In the units that the network sees (scaled by the training part). Step 1 is the first that was forecast.");
  std::string html;
  for (const auto& plot : plots) html += draw_svg(plot);
  page.raw("<div class=\"plots\">" + html + "</div>");
}

void add_columns(Page& page, const Json& details) {
  const auto found = details.find("per_column");
  if (found == details.end() || !found->is_array()) return;
  page.heading("Columns");
  std::vector<std::vector<std::string>> rows;
  for (const auto& line : *found) {
    const auto mse = figure(line, "mse"), mae = figure(line, "mae");
    rows.push_back({line.value("column", ""), mse ? figure_text(*mse) : "", mae ? figure_text(*mae) : ""});
  }
  page.table({"column", "mse", "mae"}, rows);
}

void add_epochs(Page& page, const TrainingReport& r, const std::string& metric) {
  page.heading("Epochs");
  std::vector<std::vector<std::string>> rows;
  for (const auto& line : r.history.epochs) {
    const auto value = figure(line.validation, metric);
    rows.push_back({std::to_string(line.epoch), figure_text(line.train_loss), value ? figure_text(*value) : "", duration_text(line.seconds)});
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
  if (found == r.evaluation.details.end() || found->empty() || !found->front().contains("truth")) return;
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

std::string device_text(at::Device device) {
  const auto names = nvidia_device_names();
  const auto index = static_cast<size_t>(std::max<int>(device.index(), 0));
  return device.is_cuda() && index < names.size() ? device.str() + " (" + names[index] + ")" : device.str();
}

void add_facts(Page& page, const TrainingReport& r) {
  page.heading("Recipe");
  std::vector<std::pair<std::string, std::string>> rows;
  const Json recipe = write_recipe(r.recipe);
  for (const auto& [key, value] : recipe.items()) rows.emplace_back(key, value_text(value));
  page.facts(rows);
  page.heading("Environment");
  page.facts({{"zoo", ZOO_VERSION}, {"LibTorch", TORCH_VERSION}, {"device", device_text(r.bundle.device)}, {"processor", cpu_name()},
              {"threads", std::to_string(at::get_num_threads())}, {"linear kernel", linear_kernel_name()},
              {"element type", at::toString(r.bundle.model->parameters().front().scalar_type())},
              {"peak memory", peak_memory_text(r.bundle.device)}});
}

}  // namespace training_report_detail

void write_training_report(const std::filesystem::path& folder, const TrainingReport& report) {
  namespace d = training_report_detail;
  Page page("Training of " + report.recipe.model);
  d::add_summary(page, report);
  d::add_curves(page, report);
  d::add_figures(page, report);
  d::add_forecasts(page, report);
  d::add_columns(page, report.evaluation.details);
  d::add_epochs(page, report, report.primary_metric);
  d::add_confusion(page, report.evaluation.details);
  d::add_classes(page, report.evaluation.details);
  d::add_mistakes(page, report, folder);
  d::add_facts(page, report);
  weights::write_file_atomically(folder / "report.html", page.html());
}

}  // namespace zoo::app
