// The list of tasks.
#include <algorithm>

#include "app/cli.h"
#include "app/tasks/task.h"
#include "models/names.h"

namespace zoo::app {
namespace task_registry {

const std::vector<const Task*>& all() {
  static const std::vector<const Task*> tasks = {
      &denoise_task(),         &embedding_task(),       &fill_mask_task(), &forecasting_task(), &generate_task(), &image_classification_task(),
      &image_embedding_task(), &linkage_task(),   &question_answering_task(), &repair_task(),  &seq2seq_task(),       &similarity_task(),  &text_classification_task(),
      &token_classification_task(), &tokenize_task(),
  };
  return tasks;
}

}  // namespace task_registry

std::vector<std::string> task_names() {
  std::vector<std::string> names;
  for (const Task* task : task_registry::all()) names.push_back(task->name());
  return names;
}

const Task& find_task(const std::string& name) {
  for (const Task* task : task_registry::all())
    if (task->name() == name) return *task;
  throw UsageError("unknown task '" + name.substr(0, 80) + "'; nearest: " + join(nearest(name, task_names())) +
                   " (known: " + join(task_names()) + ")");
}

std::vector<std::string> Task::training_texts(const std::filesystem::path& data, const DataOptions&) const {
  throw UsageError("recipe: tokenizer: a vocabulary cannot be made of " + data.string() + ", because task " + name() + " does not learn from texts alone; name the files of a tokenizer");
}

void check_options(const Task& task, const Json& options) {
  const auto known = task.option_names();
  for (const auto& [key, value] : options.items()) {
    if (std::find(known.begin(), known.end(), key) != known.end()) continue;
    const std::string wrong = "unknown option '" + key.substr(0, 80) + "' of task " + task.name();
    if (known.empty()) throw UsageError(wrong + ", which has none here");
    throw UsageError(wrong + "; nearest: " + join(nearest(key, known)) + " (known: " + join(known) + ")");
  }
}

}  // namespace zoo::app
