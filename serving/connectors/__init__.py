"""Write-back: takes the scores of a night to the systems that people work in."""
