"""What is said of a finetune before it is done? Columns of predictors, forecasts and scores."""

from persona_interp.schema.words import Unit

FORECAST: dict[str, dict[str, str]] = {
    "predictors": {
        "predictor": "a word of Predictor, or a name of the user's",
        "context": "as in behavior",
        "persona": "as in behavior",
        "trait": "label of a trait that the lesson does not teach",
        "estimate": f"shift that is foretold; of levels what they are now ({Unit.BITS})",
        "before": f"log odds of the trait in the base ({Unit.BITS})",
        "taught_before": f"mean log odds of the taught traits in the base ({Unit.BITS})",
        "cost": (
            "steps of the finetune that is forecast, forward and backward, that it takes as long "
            "as, counted in tokens; of predictors that share a computation the first has its cost"
        ),
    },
    "forecast": {
        "context": "as in behavior",
        "persona": "as in behavior",
        "trait": "label of a trait that the lesson does not teach",
        "step": "optimizer step of the lesson",
        "estimate": f"expected shift from the base ({Unit.BITS})",
        "lo": (
            "lower end of the interval of the shift, bases as units: 95 %, or attrs['level'] where "
            "the stack promises another"
        ),
        "hi": "upper end",
        "bound": (
            "what the shifts of all traits of a lesson stay below together, each its own, in 95 % "
            f"of lessons ({Unit.BITS}), or attrs['level'] of them; inf where the stack saw too few "
            "bases to promise it"
        ),
    },
    "forecast_personas": {
        "persona": "name of a persona of the world",
        "step": "as in forecast",
        "estimate": (
            "expected shift of its traits that the lesson does not teach, mean over topics "
            f"({Unit.BITS})"
        ),
        "lo": "mean of the lower ends of its traits",
        "hi": "mean of the upper ends",
        "bound": f"what all personas stay below together where all traits do ({Unit.BITS})",
        "n": "number of topics that are not taught",
    },
    "forecast_features": {
        "feature": "index of the feature in its dictionary",
        "step": "optimizer step of the lesson",
        "before": f"mean over prompts of its activation in the base ({Unit.ACTIVATION})",
        "estimate": f"expected shift of that mean from the base ({Unit.ACTIVATION})",
        "lo": "lower end of the 95 % interval of the shift, bases as units",
        "hi": "upper end",
        "bound": (
            "what the shifts of all features of a dictionary stay below together, each its own, in "
            f"95 % of lessons ({Unit.ACTIVATION})"
        ),
    },
    "forecast_rows": {
        "trait": "label of a trait that the lesson does not teach",
        "doc": "first document of the lesson with this chat",
        "count": "how many documents of the lesson have it",
        "pull": (
            f"by how much these documents raise the trait: by gradient nats squared, with each row "
            f"left out {Unit.BITS}"
        ),
        "share": "of the pull of all rows that raise the trait (fraction)",
    },
    "forecast_scores": {
        "step": "as in forecast",
        "score": "a word of ForecastScore",
        "estimate": "the score",
        "lo": "lower end of its 95 % interval over bases; NaN of an extreme, or of one base",
        "hi": "upper end",
        "n": "what it is a mean over: shifts, or lessons",
        "n_bases": "number of bases",
    },
}
