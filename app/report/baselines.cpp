#include "app/report/baselines.h"

#include "app/report/figures.h"
#include "app/report/table.h"

namespace zoo::app {

std::string baselines_text(const Json& metrics) {
  const auto naive = metrics.find("naive");
  if (naive == metrics.end() || !naive->contains("last")) return "";
  std::vector<Column> columns{{"figure"}, {"network", true}, {"last value", true}};
  const auto seasonal = naive->find("seasonal");
  if (seasonal != naive->end()) columns.push_back({"seasonal (" + seasonal->value("season", Json()).dump() + " steps)", true});
  Table table(columns);
  const auto text = [](const Json& figures, const std::string& name) {
    const auto value = figure(figures, name);
    return value ? figure_text(*value) : "undefined";
  };
  for (const auto& [name, value] : naive->at("last").items()) {
    std::vector<std::string> row{name, text(metrics, name), text(naive->at("last"), name)};
    if (seasonal != naive->end()) row.push_back(text(*seasonal, name));
    table.add(std::move(row));
  }
  return table.text();
}

}  // namespace zoo::app
