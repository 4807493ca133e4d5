"""The leakage guard: what knows the outcome is found, named, shown with figures, and stops the training.

Events carry their own time and are protected by it. What an adapter declares about an attribute (`fixed = true`: never changes
once the row is known), or what was computed elsewhere, is a promise that nothing else can check: those are held to a stricter
rule. `guard.guard` is the whole of it; every other module is one kind of evidence.
"""
