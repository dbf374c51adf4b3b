// Package narset sums up the telemetry of seeds by region: one summary for up to
// 32 reports. Emergencies pass through as they are, at once.
//
// Tamiyo and Nissa get the reports themselves as well; a summary is for those who
// look at a region as a whole.
//
// A report is acknowledged to the bus when the summary that names it is durable
// in Narset's log, and a summary stays in the log until the bus has it. So each
// report is in exactly one summary, whatever crashes; one that comes again later
// than the log remembers would be in two, and that takes thousands of reports in
// between.
//
// Choices: a report without a region belongs to the region of its layer. A
// summary is made when 32 reports of a region are there, or after a second with
// fewer. Means are taken in the order of the reports' ids, so that the same
// reports give the same bytes. Narset forwards each copy of a notice to Tamiyo and
// Nissa, and carries acknowledgements back: whoever raises it repeats it until it
// is acknowledged. Who wants training stopped tells Tolaria without a detour.
package narset
