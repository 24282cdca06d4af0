#include "app/report/comparison.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <set>

#include "app/report/html.h"
#include "app/report/progress.h"
#include "app/report/svg.h"

namespace zoo::app {
namespace comparison_detail {
namespace fs = std::filesystem;

// What says nothing of what is learned: runs that differ in these alone are runs of one recipe.
Json identity_of(Json recipe) {
  for (const char* key : {"seed", "description", "workers", "checkpoint"}) recipe.erase(key);
  return recipe;
}

std::string value_text(const Json& value) {
  if (value.is_null()) return "";
  return value.is_string() ? value.get<std::string>() : value.dump(-1, ' ', false, Json::error_handler_t::replace);
}

void flatten(const Json& value, const std::string& path, std::map<std::string, std::string>& flat, std::vector<std::string>& order) {
  if (value.is_object() && !value.empty()) {
    for (const auto& [key, inner] : value.items()) flatten(inner, path.empty() ? key : path + "." + key, flat, order);
    return;
  }
  flat[path] = value.is_object() ? "" : value_text(value);
  if (std::find(order.begin(), order.end(), path) == order.end()) order.push_back(path);
}

// A group's name: its folder, as short as is unambiguous; runs of seeds in one folder are named by that.
std::string short_name(const RunGroup& group) {
  const fs::path first = group.runs.front()->name;
  if (group.runs.size() == 1) return first.filename().string();
  bool one_folder = true;
  for (const auto* run : group.runs) one_folder = one_folder && fs::path(run->name).parent_path() == first.parent_path();
  if (one_folder && first.filename().string().starts_with("seed-") && first.has_parent_path()) return first.parent_path().filename().string();
  std::string names;
  for (const auto* run : group.runs) names += (names.empty() ? "" : " + ") + fs::path(run->name).filename().string();
  return names;
}

void name_groups(std::vector<RunGroup>& groups) {
  std::map<std::string, int> used;
  for (auto& group : groups) ++used[group.name = short_name(group)];
  for (auto& group : groups) {
    if (used[group.name] > 1) group.name = group.runs.front()->name;
  }
}

bool goes_before(const RunRecord& a, const RunRecord& b) { return a.finished() != b.finished() ? a.finished() : a.written > b.written; }

void add_sample(RunGroup& group, const RunRecord& run) {
  const auto same_seed = [&](const RunRecord* other) { return other->recipe.value("seed", Json()) == run.recipe.value("seed", Json()); };
  const auto known = std::find_if(group.runs.begin(), group.runs.end(), same_seed);
  if (known == group.runs.end()) return group.runs.push_back(&run);
  const bool replaces = goes_before(run, **known);
  group.left_out.push_back(replaces ? *known : &run);
  if (replaces) *known = &run;
}

std::vector<RunGroup> grouped(const std::vector<RunRecord>& runs, bool each) {
  std::vector<RunGroup> groups;
  std::vector<Json> identities;
  for (const auto& run : runs) {
    const Json identity = identity_of(run.recipe);
    const auto known = each ? identities.end() : std::find(identities.begin(), identities.end(), identity);
    if (known != identities.end()) {
      add_sample(groups[static_cast<size_t>(known - identities.begin())], run);
    } else {
      identities.push_back(identity);
      groups.push_back({"", {&run}, {}});
    }
  }
  name_groups(groups);
  return groups;
}

std::vector<Comparison::Setting> differing_settings(const std::vector<RunGroup>& groups) {
  std::vector<std::map<std::string, std::string>> recipes(groups.size());
  std::vector<std::string> order;
  for (size_t i = 0; i < groups.size(); ++i) {
    Json recipe = groups[i].runs.front()->recipe;
    if (groups[i].runs.size() > 1) {
      Json seeds = Json::array();
      for (const auto* run : groups[i].runs) seeds.push_back(run->recipe.value("seed", Json()));
      recipe["seed"] = seeds;
    }
    recipe.erase("description");
    flatten(recipe, "", recipes[i], order);
  }
  std::vector<Comparison::Setting> settings;
  for (const auto& key : order) {
    Comparison::Setting row{key, {}};
    for (auto& recipe : recipes) row.values.push_back(recipe[key]);
    if (std::set<std::string>(row.values.begin(), row.values.end()).size() > 1) settings.push_back(row);
  }
  return settings;
}

std::optional<size_t> best_of(const Comparison::Figure& row) {
  const Better way = better(row.metric);
  if (way == Better::unknown) return std::nullopt;
  std::optional<size_t> best;
  bool differ = false;
  for (size_t i = 0; i < row.values.size(); ++i) {
    const auto& value = row.values[i];
    if (value.count == 0 || !std::isfinite(value.mean)) continue;
    if (best) differ = differ || value.mean != row.values[*best].mean;
    if (!best || (way == Better::lower ? value.mean < row.values[*best].mean : value.mean > row.values[*best].mean)) best = i;
  }
  return differ ? best : std::nullopt;
}

std::vector<Comparison::Figure> figures_of(const std::vector<RunGroup>& groups) {
  std::vector<std::string> order;
  std::map<std::string, std::vector<std::vector<double>>> values;
  for (size_t i = 0; i < groups.size(); ++i) {
    for (const auto* run : groups[i].runs) {
      for (const auto& [metric, value] : flat_figures(run->metrics)) {
        auto& row = values[metric];
        if (row.empty()) row.resize(groups.size()), order.push_back(metric);
        row[i].push_back(value);
      }
    }
  }
  std::vector<Comparison::Figure> figures;
  for (const auto& metric : order) {
    Comparison::Figure row{metric, {}, std::nullopt};
    for (const auto& group : values[metric]) row.values.push_back(spread(group));
    row.best = best_of(row);
    figures.push_back(row);
  }
  return figures;
}

Spread spread_over(const RunGroup& group, double (*value)(const RunRecord&)) {
  std::vector<double> values;
  for (const auto* run : group.runs) values.push_back(value(*run));
  return spread(values);
}
Spread steps_of(const RunGroup& group) {
  return spread_over(group, [](const RunRecord& run) { return static_cast<double>(run.steps); });
}
Spread seconds_of(const RunGroup& group) {
  return spread_over(group, [](const RunRecord& run) { return run.seconds; });
}

std::string state_of(const RunGroup& group) {
  const auto finished = std::count_if(group.runs.begin(), group.runs.end(), [](const auto* run) { return run->finished(); });
  const auto all = static_cast<std::ptrdiff_t>(group.runs.size());
  if (all == 1) return finished ? "finished" : "unfinished";
  return std::to_string(finished) + " of " + std::to_string(all) + " finished";
}

bool any_left_out(const Comparison& c) {
  return std::any_of(c.groups.begin(), c.groups.end(), [](const RunGroup& group) { return !group.left_out.empty(); });
}

std::string left_out_text(const RunGroup& group) {
  std::string text;
  for (const auto* run : group.left_out) text += (text.empty() ? "" : ", ") + run->name + " (seed " + value_text(run->recipe.value("seed", Json())) + " again)";
  return text;
}

std::string exact(double value) { return Json(value).dump(); }

std::string cell(const Comparison::Figure& row, size_t group) {
  return spread_text(row.values[group]) + (row.best == group ? " *" : "");
}

// Name and cells of every row; the tables for people are these.
std::vector<std::vector<std::string>> rows_of(const Comparison& c) {
  std::vector<std::vector<std::string>> rows;
  const auto add = [&](const std::string& name, const auto& cell_of) {
    std::vector<std::string> row{name};
    for (size_t i = 0; i < c.groups.size(); ++i) row.push_back(cell_of(i));
    rows.push_back(row);
  };
  for (const auto& setting : c.settings) add(setting.key, [&](size_t i) { return setting.values[i]; });
  for (const auto& figure : c.figures) add(figure.metric, [&](size_t i) { return cell(figure, i); });
  add("steps", [&](size_t i) { return spread_text(steps_of(c.groups[i])); });
  add("time", [&](size_t i) { return duration_text(seconds_of(c.groups[i]).mean); });
  add("state", [&](size_t i) { return state_of(c.groups[i]); });
  if (any_left_out(c)) add("left out", [&](size_t i) { return left_out_text(c.groups[i]); });
  return rows;
}

std::vector<std::string> header_of(const Comparison& c) {
  std::vector<std::string> header{""};
  for (const auto& group : c.groups) header.push_back(group.name);
  return header;
}

Json spread_json(const Spread& value) {
  if (value.count == 0) return nullptr;
  return {{"mean", value.mean}, {"deviation", value.count > 1 ? Json(value.deviation) : Json(nullptr)}, {"count", value.count}};
}

// ---- the page ----

// A curve for each run in its group's colour; the first of a group carries the name.
template <class Points>
Plot overlay(const std::string& title, const Comparison& c, bool dots, const Points& points) {
  Plot plot{title, "step", {}};
  for (size_t i = 0; i < c.groups.size(); ++i) {
    bool named = false;
    for (const auto* run : c.groups[i].runs) {
      Series series{named ? "" : c.groups[i].name, points(*run), dots, static_cast<int>(i)};
      if (series.points.empty()) continue;
      plot.series.push_back(std::move(series));
      named = true;
    }
  }
  return plot;
}

using Points = std::vector<std::pair<double, double>>;

Points over_steps(const RunRecord& run, double StepLog::*value) {
  Points points;
  for (const auto& line : run.history.steps) points.emplace_back(static_cast<double>(line.step), line.*value);
  return points;
}

Points over_epochs(const RunRecord& run, const std::string& metric) {
  Points points;
  for (const auto& line : run.history.epochs) {
    if (const auto value = figure(line.validation, metric)) points.emplace_back(static_cast<double>(line.step), *value);
  }
  return points;
}

// At most eight figures of the validation for which a better way is known.
std::vector<std::string> validation_metrics(const Comparison& c) {
  std::vector<std::string> metrics;
  for (const auto& group : c.groups) {
    for (const auto* run : group.runs) {
      for (const auto& line : run->history.epochs) {
        for (const auto& [metric, value] : flat_figures(line.validation)) {
          const bool shown = std::find(metrics.begin(), metrics.end(), metric) != metrics.end();
          if (!shown && metrics.size() < 8 && better(metric) != Better::unknown && metric.find('.') == std::string::npos) metrics.push_back(metric);
        }
      }
    }
  }
  return metrics;
}

std::string curves(const Comparison& c) {
  std::string html = "<div class=\"plots\">";
  html += draw_svg(overlay("training loss", c, false, [](const RunRecord& run) { return over_steps(run, &StepLog::loss); }));
  for (const auto& metric : validation_metrics(c)) {
    html += draw_svg(overlay("validation " + metric, c, true, [&](const RunRecord& run) { return over_epochs(run, metric); }));
  }
  html += draw_svg(overlay("learning rate", c, false, [](const RunRecord& run) { return over_steps(run, &StepLog::lr); }));
  html += draw_svg(overlay("gradient norm", c, false, [](const RunRecord& run) { return over_steps(run, &StepLog::gradient_norm); }));
  return html + "</div>";
}

}  // namespace comparison_detail

Comparison compare_runs(const std::vector<RunRecord>& runs, bool each) {
  namespace d = comparison_detail;
  Comparison comparison;
  comparison.groups = d::grouped(runs, each);
  comparison.settings = d::differing_settings(comparison.groups);
  comparison.figures = d::figures_of(comparison.groups);
  return comparison;
}

Table comparison_table(const Comparison& comparison) {
  std::vector<Column> columns;
  for (const auto& title : comparison_detail::header_of(comparison)) columns.push_back({title, !columns.empty()});
  Table table(columns);
  for (auto& row : comparison_detail::rows_of(comparison)) table.add(std::move(row));
  return table;
}

Table comparison_rows(const Comparison& c) {
  namespace d = comparison_detail;
  std::vector<Column> columns{{"run"}, {"runs", true}, {"finished", true}, {"steps", true}, {"seconds", true}};
  for (const auto& setting : c.settings) columns.push_back({setting.key});
  for (const auto& figure : c.figures) columns.push_back({figure.metric, true}), columns.push_back({figure.metric + " deviation", true});
  if (d::any_left_out(c)) columns.push_back({"left out"});
  Table table(columns);
  for (size_t i = 0; i < c.groups.size(); ++i) {
    const auto& runs = c.groups[i].runs;
    std::vector<std::string> row{c.groups[i].name, std::to_string(runs.size()),
                                 std::to_string(std::count_if(runs.begin(), runs.end(), [](const auto* run) { return run->finished(); })),
                                 d::exact(d::steps_of(c.groups[i]).mean), d::exact(d::seconds_of(c.groups[i]).mean)};
    for (const auto& setting : c.settings) row.push_back(setting.values[i]);
    for (const auto& figure : c.figures) {
      row.push_back(figure.values[i].count > 0 ? d::exact(figure.values[i].mean) : "");
      row.push_back(figure.values[i].count > 1 ? d::exact(figure.values[i].deviation) : "");
    }
    if (d::any_left_out(c)) row.push_back(d::left_out_text(c.groups[i]));
    table.add(std::move(row));
  }
  return table;
}

Json comparison_json(const Comparison& c) {
  namespace d = comparison_detail;
  Json groups = Json::array(), best = Json::object();
  for (size_t i = 0; i < c.groups.size(); ++i) {
    Json group = {{"name", c.groups[i].name}, {"runs", Json::array()}, {"state", d::state_of(c.groups[i])},
                  {"steps", d::steps_of(c.groups[i]).mean}, {"seconds", d::seconds_of(c.groups[i]).mean},
                  {"settings", Json::object()}, {"metrics", Json::object()}};
    for (const auto* run : c.groups[i].runs) group["runs"].push_back(run->name);
    for (const auto* run : c.groups[i].left_out) group["left_out"].push_back(run->name);
    for (const auto& setting : c.settings) group["settings"][setting.key] = setting.values[i];
    for (const auto& figure : c.figures) group["metrics"][figure.metric] = d::spread_json(figure.values[i]);
    groups.push_back(std::move(group));
  }
  for (const auto& figure : c.figures) {
    if (figure.best) best[figure.metric] = c.groups[*figure.best].name;
  }
  return {{"groups", groups}, {"best", best}};
}

std::string comparison_page(const Comparison& comparison) {
  namespace d = comparison_detail;
  Page page("Comparison of " + std::to_string(comparison.groups.size()) + " trainings");
  size_t runs = 0;
  for (const auto& group : comparison.groups) runs += group.runs.size();
  if (runs > comparison.groups.size()) page.paragraph("Runs of one recipe with several seeds stand in one column: mean ± standard deviation.");
  if (d::any_left_out(comparison)) page.paragraph("Of runs with one recipe and one seed the latest counts: a seed again is no second sample.");
  page.heading("Recipes and figures");
  page.paragraph("Keys of the recipe that differ, then the figures at the end; * marks the best.");
  page.table(d::header_of(comparison), d::rows_of(comparison));
  page.heading("Curves");
  page.raw(d::curves(comparison));
  return page.html();
}

}  // namespace zoo::app
