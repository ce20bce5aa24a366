internal import Foundation

/// Runs a plan: for each cell a number of short rounds, and in each round every subject once, so that whatever else
/// the machine does hits all alike.
package struct Conductor {
    let plan: BenchPlan
    /// Where the subjects have their directories.
    let directory: String
    let progress: (Progress) -> Void

    package struct Progress {
        var cell: Cell
        var subject: SubjectName
        var round: Int
        var rounds: Int
        var cellNumber: Int
        var cells: Int

        package init(cell: Cell, subject: SubjectName, round: Int, rounds: Int, cellNumber: Int, cells: Int) {
            self.cell = cell
            self.subject = subject
            self.round = round
            self.rounds = rounds
            self.cellNumber = cellNumber
            self.cells = cells
        }
    }

    /// Hands out the processes as soon as they run, so that a signal can end them.
    func run(started: ([Int32]) -> Void) throws -> [CellResult] {
        var workers: [SubjectName: WorkerProcess] = [:]
        defer { for worker in workers.values { worker.stop() } }
        for subject in plan.subjects {
            workers[subject] = try WorkerProcess(subject, directory: "\(directory)/\(subject)")
        }
        started(workers.values.map(\.processID))
        let cells = plan.valueSizes.map(plan.cells)
        let total = cells.reduce(0) { $0 + $1.count }
        var results: [CellResult] = []
        var number = 0
        for cells in cells {
            for cell in cells {
                number += 1
                results += try run(cell, workers) { subject, round, rounds in
                    progress(
                        Progress(
                            cell: cell, subject: subject, round: round, rounds: rounds, cellNumber: number,
                            cells: total))
                }
            }
            for worker in workers.values { _ = try worker.ask(.unload) }
        }
        return results
    }

    private func run(
        _ cell: Cell, _ workers: [SubjectName: WorkerProcess], _ progress: (SubjectName, Int, Int) -> Void
    ) throws -> [CellResult] {
        // The portable form has no engine in it: one process will do.
        let subjects = cell.workload == .portable ? Array(plan.subjects.prefix(1)) : plan.subjects
        let rounds = min(plan.rounds, cell.workload.roundsMax)
        for subject in subjects {
            progress(subject, 0, rounds)
            _ = try workers[subject]?.ask(.prepare, cell)
        }
        var measured: [SubjectName: [RoundResult]] = [:]
        let warms = cell.workload.isRead || cell.workload == .write || cell.workload == .logApply
        for round in (warms ? -1 : 0)..<rounds {
            for subject in plan.order(round: max(0, round)) where subjects.contains(subject) {
                progress(subject, round + 1, rounds)
                guard let result = try workers[subject]?.ask(.round, cell, round: round), round >= 0 else { continue }
                measured[subject, default: []].append(result)
            }
        }
        for subject in subjects { _ = try workers[subject]?.ask(.finish, cell) }
        return subjects.compactMap { subject in
            guard let mine = measured[subject], !mine.isEmpty else { return nil }
            return CellResult(
                cell, subject, mine, raw: subject.isRaw ? nil : measured[SubjectName(subject.engine, isRaw: true)])
        }
    }
}
