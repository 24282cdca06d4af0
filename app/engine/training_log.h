// TrainingLog: log.jsonl, the same lines in memory for the report, and the same figures for TensorBoard in tensorboard/ beside it.
#pragma once
#include <filesystem>
#include <fstream>
#include <memory>

#include "app/engine/history.h"
#include "app/report/tensorboard.h"

namespace zoo::app {

class TrainingLog {
 public:
  // `bytes` of an earlier run's log stay and are read back; what comes after them was written for steps that will be repeated.
  TrainingLog(const std::filesystem::path& file, int64_t bytes);

  // Each line is on its way to the disk when these return. Throw std::runtime_error when writing fails.
  void add(const StepLog& line);
  void add(const EpochLog& line);
  void add_final(const Json& metrics);
  int64_t bytes();
  TrainingHistory& history() { return history_; }
  EventWriter& events() { return *events_; }

 private:
  void read_back();
  void write(const Json& line);
  std::filesystem::path file_;
  std::ofstream out_;
  TrainingHistory history_;
  std::unique_ptr<EventWriter> events_;
};

}  // namespace zoo::app
