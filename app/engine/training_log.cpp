#include "app/engine/training_log.h"

#include <algorithm>
#include <stdexcept>
#include <string>

namespace zoo::app {
namespace fs = std::filesystem;

TrainingLog::TrainingLog(const fs::path& file, int64_t bytes) : file_(file) {
  std::error_code error;
  const auto size = fs::file_size(file_, error);
  if (bytes > 0 && (error || size < static_cast<uint64_t>(bytes))) {
    throw std::runtime_error(file_.string() + ": is shorter than when the checkpoint was saved; the run cannot go on with it");
  }
  if (bytes > 0) {
    fs::resize_file(file_, static_cast<uint64_t>(bytes));
    read_back();
  }
  out_.open(file_, bytes > 0 ? std::ios::app : std::ios::trunc);
  if (!out_) throw std::runtime_error(file_.string() + ": cannot be written");
  const int64_t last = std::max(history_.steps.empty() ? 0 : history_.steps.back().step, history_.epochs.empty() ? 0 : history_.epochs.back().step);
  events_ = std::make_unique<EventWriter>(file_.parent_path() / "tensorboard", last > 0 ? last + 1 : 0);
}

void TrainingLog::read_back() {
  std::ifstream in(file_);
  for (std::string text; std::getline(in, text);) {
    const Json line = Json::parse(text);
    if (line.contains("train_loss")) {
      history_.epochs.push_back({line.at("epoch"), line.at("step"), line.at("train_loss"), line.at("seconds"), line.at("validation")});
    } else if (line.contains("loss")) {
      history_.steps.push_back({line.at("step"), line.at("epoch"), line.at("loss"), line.at("lr"), line.at("gradient_norm"), line.at("seconds")});
    }
  }
}

void TrainingLog::write(const Json& line) {
  out_ << line.dump() << '\n';
  if (!out_.flush()) throw std::runtime_error(file_.string() + ": writing failed (is the disk full?)");
}

void TrainingLog::add(const StepLog& line) {
  history_.steps.push_back(line);
  write({{"step", line.step}, {"epoch", line.epoch}, {"loss", line.loss}, {"lr", line.lr}, {"gradient_norm", line.gradient_norm},
         {"seconds", line.seconds}});
  events_->scalar("train/loss", line.step, line.loss);
  events_->scalar("train/lr", line.step, line.lr);
  events_->scalar("train/gradient_norm", line.step, line.gradient_norm);
  events_->scalar("train/epoch", line.step, line.epoch);
  events_->flush();
}

void TrainingLog::add(const EpochLog& line) {
  history_.epochs.push_back(line);
  write({{"epoch", line.epoch}, {"step", line.step}, {"train_loss", line.train_loss}, {"seconds", line.seconds}, {"validation", line.validation}});
  events_->scalar("epoch/loss", line.step, line.train_loss);
  events_->scalar("epoch/seconds", line.step, line.seconds);
  events_->scalars("validation", line.step, line.validation);
  events_->flush();
}

void TrainingLog::add_final(const Json& metrics) {
  write({{"final", metrics}});
  const int64_t last = history_.epochs.empty() ? 0 : history_.epochs.back().step;
  events_->scalars("final", last, metrics);
  events_->flush();
}

int64_t TrainingLog::bytes() { return static_cast<int64_t>(out_.tellp()); }

}  // namespace zoo::app
