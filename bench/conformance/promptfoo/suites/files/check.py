def get_assert(output, context):
    return context["vars"]["want"] in output


def graded(output, context):
    return {"pass": len(output) > 10, "score": 0.5, "reason": "by length", "named_scores": {"length": 0.5}}
