// The list of tasks.
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

}  // namespace zoo::app
