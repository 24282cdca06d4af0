#include "app/completion.h"

#include <iostream>

#include "app/options.h"
#include "models/names.h"
#include "models/registry.h"

namespace zoo::app {
namespace completion_detail {

struct Words {
  std::string verb, summary;
  std::vector<std::string> options;  // with dashes
};

std::vector<Words> all_words() {
  std::vector<Words> all;
  for (const auto& verb : verbs()) {
    CLI::App command(verb.summary, verb.name);
    Common common;
    verb.declare(command, common);
    add_common_options(command, common);
    Words words{verb.name, verb.summary, {"--help"}};
    for (const auto& name : option_names(command)) words.options.push_back("--" + name);
    all.push_back(std::move(words));
  }
  return all;
}

std::string verb_list() {
  std::vector<std::string> names;
  for (const auto& verb : verbs()) names.emplace_back(verb.name);
  return join(names, " ");
}

std::string network_list() {
  std::vector<std::string> names;
  for (const auto& entry : registry()) {
    names.push_back(entry.name);
    for (const auto& variant : variants(entry.name)) names.push_back(entry.name + ":" + variant);
  }
  return join(names, " ");
}

// Bash splits words at ':', so what stands before it is cut from the candidates.
std::string bash_script() {
  std::string script =
      "# zoo completion for bash: source <(zoo completion bash)\n"
      "_zoo() {\n"
      "  local current=\"${COMP_WORDS[COMP_CWORD]}\" line=\"${COMP_LINE:0:COMP_POINT}\" verb=\"${COMP_WORDS[1]}\" words\n"
      "  local word=\"${line##* }\"\n"
      "  if [[ $COMP_CWORD -eq 1 ]]; then\n"
      "    COMPREPLY=($(compgen -W \"" + verb_list() + " --help --version\" -- \"$current\")); return\n"
      "  fi\n"
      "  case \"$verb\" in\n";
  for (const auto& words : all_words()) script += "    " + words.verb + ") words=\"" + join(words.options, " ") + "\" ;;\n";
  script +=
      "  esac\n"
      "  if [[ $word == -* ]]; then COMPREPLY=($(compgen -W \"$words\" -- \"$word\")); return; fi\n"
      "  COMPREPLY=($(compgen -W \"" + network_list() + "\" -- \"$word\") $(compgen -f -- \"$word\"))\n"
      "  if [[ $word == *:* ]]; then COMPREPLY=(\"${COMPREPLY[@]#\"${word%:*}:\"}\"); fi\n"
      "}\n"
      "complete -o filenames -F _zoo zoo\n";
  return script;
}

std::string zsh_script() {
  std::string script =
      "#compdef zoo\n"
      "# zoo completion for zsh: source <(zoo completion zsh), or save as _zoo in a folder of $fpath\n"
      "_zoo() {\n"
      "  local -a options\n"
      "  if (( CURRENT == 2 )); then compadd -- " + verb_list() + " --help --version; return; fi\n"
      "  case \"${words[2]}\" in\n";
  for (const auto& words : all_words()) script += "    " + words.verb + ") options=(" + join(words.options, " ") + ") ;;\n";
  script +=
      "  esac\n"
      "  if [[ \"${words[CURRENT]}\" == -* ]]; then compadd -- $options; return; fi\n"
      "  compadd -- " + network_list() + "\n"
      "  _files\n"
      "}\n"
      "compdef _zoo zoo\n";
  return script;
}

std::string fish_script() {
  std::string script = "# zoo completion for fish: zoo completion fish | source\n";
  for (const auto& words : all_words()) {
    script += "complete -c zoo -n __fish_use_subcommand -f -a " + words.verb + " -d '" + words.summary + "'\n";
    for (const auto& option : words.options) {
      script += "complete -c zoo -n '__fish_seen_subcommand_from " + words.verb + "' -l " + option.substr(2) + "\n";
    }
  }
  return script + "complete -c zoo -n 'not __fish_use_subcommand' -a '" + network_list() + "'\n";
}

Action declare(CLI::App& command, Common& common) {
  auto shell = std::make_shared<std::string>();
  command.add_option("shell", *shell, "bash, zsh or fish")->required()->check(CLI::IsMember({"bash", "zsh", "fish"}));
  return [shell, &common] {
    const std::string script = *shell == "bash" ? bash_script() : *shell == "zsh" ? zsh_script() : fish_script();
    if (common.json) print_json({{"shell", *shell}, {"script", script}});
    else std::cout << script;
    return 0;
  };
}

}  // namespace completion_detail

Verb completion_verb() {
  return {"completion", "print a completion script for bash, zsh or fish",
          "  source <(zoo completion bash)\n"
          "  zoo completion fish > ~/.config/fish/completions/zoo.fish\n",
          completion_detail::declare};
}

}  // namespace zoo::app
