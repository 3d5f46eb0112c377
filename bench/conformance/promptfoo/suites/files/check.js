module.exports = (output, context) => output.includes(context.vars.want);
module.exports.score = (output) => ({ pass: output.length > 10, score: output.length > 10 ? 1 : 0.2, reason: 'by length', namedScores: { length: 0.5 } });
