"""What the rows say, asked by several rules: facts and measures, without a judgement."""
