// zoo list: the networks of the registry.
#include <fnmatch.h>

#include <iostream>

#include "app/cli.h"
#include "app/report/table.h"
#include "app/sizes.h"
#include "app/workers.h"
#include "models/names.h"
#include "models/registry.h"

namespace zoo::app {
namespace list_detail {

struct Options {
  std::string pattern, task, family;
  bool markdown = false;
};

std::string paper_text(const Json& card) {
  const auto paper = card.find("paper");
  if (paper == card.end()) return "";
  std::string text;
  if (paper->contains("year")) text += paper->at("year").dump();
  if (paper->contains("arxiv")) text += (text.empty() ? "" : ", ") + ("arXiv:" + paper->at("arxiv").get<std::string>());
  else if (paper->contains("doi")) text += (text.empty() ? "" : ", ") + ("doi:" + paper->at("doi").get<std::string>());
  return text;
}

std::string paper_link(const Json& card) {
  const std::string text = paper_text(card);
  const auto paper = card.find("paper");
  if (paper == card.end()) return text;
  if (paper->contains("arxiv")) return "[" + text + "](https://arxiv.org/abs/" + paper->at("arxiv").get<std::string>() + ")";
  if (paper->contains("doi")) return "[" + text + "](https://doi.org/" + paper->at("doi").get<std::string>() + ")";
  if (paper->contains("url")) return "[" + text + "](" + paper->at("url").get<std::string>() + ")";
  return text;
}

Json describe(const Entry& entry, Sizes& counts) {
  const Json& about = card(entry.name);
  Json sizes = Json::array();
  for (const auto& variant : variants(entry.name)) {
    sizes.push_back({{"name", variant}, {"parameters", counts.of(entry, variant)}});
  }
  return {{"name", entry.name}, {"title", about.at("title")}, {"paper", about.value("paper", Json::object())},
          {"family", about.value("family", "")}, {"tasks", tasks_of(entry)}, {"variants", sizes},
          {"proof", about.value("proof", "")}, {"aliases", about.value("aliases", Json::array())},
          {"reference", about.value("reference", Json::object())}};
}

// The first time, making the networks to count their parameters is most of the time, so several are made at once.
std::vector<Json> describe(const std::vector<const Entry*>& entries) {
  std::vector<Json> networks(entries.size());
  Sizes counts;
  side_by_side(workers_for(0, /*on_cpu=*/true), static_cast<int64_t>(entries.size()), [&](int64_t i) {
    networks[static_cast<size_t>(i)] = describe(*entries[static_cast<size_t>(i)], counts);
  });
  counts.save();
  return networks;
}

bool contains(const std::string& text, const std::string& part) {
  const auto same = [](unsigned char a, unsigned char b) { return std::tolower(a) == std::tolower(b); };
  return std::search(text.begin(), text.end(), part.begin(), part.end(), same) != text.end();
}

// A pattern with wildcards is matched against names and aliases; a plain word is also looked for in the title.
bool matches(const Entry& entry, const std::string& pattern) {
  if (pattern.empty()) return true;
  const Json& about = card(entry.name);
  std::vector<std::string> names = {entry.name};
  for (const auto& alias : about.value("aliases", Json::array())) names.push_back(alias.get<std::string>());
  const bool wild = pattern.find_first_of("*?[") != std::string::npos;
  for (const auto& name : names) {
    if (wild ? fnmatch(pattern.c_str(), name.c_str(), 0) == 0 : contains(name, pattern)) return true;
  }
  return !wild && contains(about.at("title").get<std::string>(), pattern);
}

// Throws when no network has the value, so that a typing mistake does not look like an empty zoo.
void check_known(const std::string& option, const std::string& value, const std::set<std::string>& known) {
  if (value.empty() || known.count(value)) return;
  const std::vector<std::string> all(known.begin(), known.end());
  throw UsageError(option + " is '" + value.substr(0, 80) + "', which no network has; nearest: " + join(nearest(value, all)) +
                   " (known: " + join(all) + ")");
}

std::vector<const Entry*> select(const Options& options) {
  std::set<std::string> tasks, families;
  std::vector<std::string> names;
  for (const auto& entry : registry()) {
    for (const auto& task : tasks_of(entry)) tasks.insert(task);
    families.insert(card(entry.name).value("family", ""));
    names.push_back(entry.name);
  }
  check_known("--task", options.task, tasks);
  check_known("--family", options.family, families);
  std::vector<const Entry*> chosen;
  for (const auto& entry : registry()) {
    const auto served = tasks_of(entry);
    const bool right_task = options.task.empty() || std::find(served.begin(), served.end(), options.task) != served.end();
    const bool right_family = options.family.empty() || card(entry.name).value("family", "") == options.family;
    if (right_task && right_family && matches(entry, options.pattern)) chosen.push_back(&entry);
  }
  if (chosen.empty()) {
    throw std::runtime_error("no network matches" + (options.pattern.empty() ? "" : " '" + options.pattern.substr(0, 80) + "'") +
                             (options.task.empty() ? "" : " --task " + options.task) +
                             (options.family.empty() ? "" : " --family " + options.family) + "; nearest names: " +
                             join(nearest(options.pattern, names)));
  }
  return chosen;
}

std::string sizes_text(const Json& network) {
  std::vector<std::string> sizes;
  for (const auto& variant : network.at("variants")) {
    sizes.push_back(variant.at("name").get<std::string>() + " (" + count_text(variant.at("parameters").get<int64_t>()) + ")");
  }
  return join(sizes);
}

std::string markdown(const std::vector<Json>& networks) {
  Table table({{"network"}, {"paper"}, {"tasks"}, {"variants (parameters)"}, {"proof"}});
  for (const Json& network : networks) {
    const std::string name = network.at("name");
    table.add({"`" + name + "`", network.at("title").get<std::string>() + " (" + paper_link(card(name)) + ")",
               join(network.at("tasks").get<std::vector<std::string>>()), sizes_text(network), network.at("proof").get<std::string>()});
  }
  return "# Networks\n\nWritten by `zoo list --markdown`. Proof: *parity* = equal to the reference code, *equations* = equal to the\n"
         "paper's equations where no reference runs, *shape* = shapes only. `zoo verify NAME` re-runs it.\n\n" + table.markdown();
}

// Words joined by ", " and broken into lines of at most `width` characters, each after `indent` spaces.
std::string wrapped(const std::string& text, size_t indent, size_t width) {
  const std::string margin(indent, ' ');
  std::string result, line;
  size_t begin = 0;
  while (begin < text.size()) {
    const auto comma = text.find(", ", begin);
    const std::string word = text.substr(begin, comma == std::string::npos ? std::string::npos : comma + 1 - begin);
    begin = comma == std::string::npos ? text.size() : comma + 2;
    if (!line.empty() && indent + line.size() + 1 + word.size() > width) {
      result += margin + line + "\n";
      line.clear();
    }
    line += (line.empty() ? "" : " ") + word;
  }
  return result + margin + line + "\n";
}

std::string text(const std::vector<Json>& networks) {
  std::string result;
  size_t width = 0;
  for (const Json& network : networks) width = std::max(width, network.at("name").get<std::string>().size());
  const size_t indent = width + 2;
  for (const Json& network : networks) {
    const std::string name = network.at("name");
    result += name + std::string(indent - name.size(), ' ') + network.at("title").get<std::string>() + " (" + paper_text(card(name)) + ")\n";
    result += wrapped("tasks: " + join(network.at("tasks").get<std::vector<std::string>>()), indent, 110);
    result += wrapped("variants: " + sizes_text(network), indent, 110);
    result += std::string(indent, ' ') + "proof: " + network.at("proof").get<std::string>() + "\n";
  }
  return result;
}

int run(const Options& options, const Common& common) {
  const auto networks = describe(select(options));
  if (common.json) print_json({{"networks", networks}, {"count", networks.size()}});
  else std::cout << (options.markdown ? markdown(networks) : text(networks));
  return 0;
}

Action declare(CLI::App& command, Common& common) {
  auto options = std::make_shared<Options>();
  command.add_option("pattern", options->pattern, "name with wildcards (* ?), or a word of name or title");
  command.add_option("--task", options->task, "only networks that serve this task");
  command.add_option("--family", options->family, "only networks of this family: text, vision ...");
  command.add_flag("--markdown", options->markdown, "a Markdown table, as in docs/models.md");
  return [options, &common] { return run(*options, common); };
}

}  // namespace list_detail

Verb list_verb() {
  return {"list", "the networks: paper, tasks, variants, level of proof",
          "  zoo list\n"
          "  zoo list 'cc*'\n"
          "  zoo list --task image_classification --json\n",
          list_detail::declare};
}

}  // namespace zoo::app
