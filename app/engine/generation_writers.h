// Writers: one input being written, by beam search, in beam groups, or row by row (greedy and sampling). They choose among scored
// candidates and remember what they wrote; the network and the tensors are generation.cpp's.
#pragma once
#include <ATen/core/Generator.h>

#include "app/engine/generation.h"
#include "app/engine/token_scores.h"

namespace zoo::app {

struct Candidate {
  float score;
  int64_t beam, token;
};

// What one input's rows do next.
struct Move {
  std::vector<int64_t> parents, tokens;  // of the rows that go on: which row each continues, and with which token
};

class Writer {
 public:
  // `prompt`: tokens before the first new one. The options must outlive the writer.
  Writer(const GenerationOptions& options, int64_t index, size_t prompt, std::vector<RowHistory> histories);
  virtual ~Writer() = default;
  virtual std::vector<Generated> results() const = 0;  // best first
  at::Generator& generator() { return generator_; }

  const int64_t index;  // of the input
  bool done = false;
  std::vector<RowHistory> rows;

 protected:
  void follow(const Move& move);
  int64_t next_length() const { return static_cast<int64_t>(rows.front().ids.size() - prompt_) + 1; }  // new tokens after the next
  bool is_last() const { return next_length() >= o_.max_new_tokens; }
  // Whether `token` ends a text after `before`: an end of sequence, or a stop string is complete.
  bool ends(const std::vector<int64_t>& before, int64_t token) const;
  Generated result(const std::vector<int64_t>& ids, size_t end, double score) const;  // of a row's ids up to `end`
  double per_length(double score, int64_t length) const;

  const GenerationOptions& o_;
  const size_t prompt_;
  at::Generator generator_;
};

// Running beams and the finished ones, in the reference's float32 arithmetic.
class BeamWriter : public Writer {
 public:
  BeamWriter(const GenerationOptions& options, int64_t index, size_t prompt, std::vector<RowHistory> histories);
  const std::vector<float>& scores() const { return scores_; }  // of the running beams
  // `candidates`: the best (1 + ends of sequence) * num_beams or more, best first.
  Move advance(const std::vector<Candidate>& candidates);
  std::vector<Generated> results() const override;

 private:
  bool full() const { return finished_.size() == scores_.size(); }
  void finish(const Candidate& c, int64_t length);
  bool improvable(int64_t length) const;

  std::vector<float> scores_;
  std::vector<Generated> finished_;  // best first
};

// Diverse beam search (Vijayakumar et al., 2018, arXiv:1610.02424): groups of beams that choose one after the other; a token loses
// diversity_penalty for each beam of an earlier group that has just chosen it. Each group ends by the rules of transformers 4's
// BeamSearchScorer, which differ from those above.
class GroupWriter : public Writer {
 public:
  GroupWriter(const GenerationOptions& options, int64_t index, size_t prompt, std::vector<RowHistory> histories);
  int64_t group_size() const { return size_; }
  // Before a group chooses: the scores of its beams, and its rows' histories with the tokens that earlier groups chose.
  std::span<const float> scores(int64_t group) const;
  std::vector<RowHistory> histories(int64_t group) const;
  // The groups in their order, each with its best candidates, whose beams count from 0 in the group.
  void choose(int64_t group, const std::vector<Candidate>& candidates);
  Move advance();  // after the last group
  std::vector<Generated> results() const override;

 private:
  struct Group {
    std::vector<Generated> finished;  // in the order in which they were found
    double worst = 1e9;
    bool done = false;
  };
  void finish(Group& group, Generated found);
  bool cannot_improve(const Group& group, double best, int64_t length) const;

  int64_t size_;  // beams of a group
  std::vector<Group> groups_;
  std::vector<float> scores_;  // of all beams
  Move move_;                  // of the groups that have chosen
};

// One row, or several that are sampled.
class RowWriter : public Writer {
 public:
  RowWriter(const GenerationOptions& options, int64_t index, size_t prompt, std::vector<RowHistory> histories);
  Move advance(const std::vector<int64_t>& chosen);
  std::vector<Generated> results() const override;

 private:
  std::vector<size_t> ends_;  // of each row: ids up to its end; 0: it goes on
};

}  // namespace zoo::app
